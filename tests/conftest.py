"""What all tests share: this folder is on the import path."""
