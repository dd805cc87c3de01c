"""What an auditor uses: offline, with public keys alone, in plain Python.

Nothing here reaches the native extension but a replay, and nothing opens a socket.
"""
