// Command go_sumdb reads and writes logs with golang.org/x/mod's sumdb/note and sumdb/tlog, which know
// nothing of psishare.
//
//	go_sumdb check LOGDIR VERIFIER-KEY < proofs.json
//	go_sumdb write LOGDIR SIZE > proofs.json
//
// The layout of tlog-tiles, which these packages leave to others, is the only thing that stands here.
package main

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// Proofs are what one side proves and the other checks; the largest tree's root is every proof's root.
type Proofs struct {
	Key         string                `json:"key"`
	Inclusion   [][]tlog.Hash         `json:"inclusion"`
	Consistency map[int64][]tlog.Hash `json:"consistency"`
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: go_sumdb check LOGDIR KEY | go_sumdb write LOGDIR SIZE")
	}
	var err error
	switch os.Args[1] {
	case "check":
		err = check(os.Args[2], os.Args[3])
	case "write":
		err = write(os.Args[2], os.Args[3])
	default:
		err = fmt.Errorf("neither check nor write: %q", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}

// folder reads tiles as tlog-tiles lays them out.
type folder string

func (f folder) Height() int                         { return height }
func (f folder) SaveTiles(_ []tlog.Tile, _ [][]byte) {}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(string(f), path(tile)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// path drops the height, which tlog-tiles fixes at 8.
func path(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
}

// bundlePath is that of the level-0 tile, under entries.
func bundlePath(tile tlog.Tile) string {
	return strings.Replace(path(tile), "tile/0/", "tile/entries/", 1)
}

func (f folder) entries(size int64) ([][]byte, error) {
	var all [][]byte
	for first := int64(0); first < size; first += 1 << height {
		width := size - first
		if width > 1<<height {
			width = 1 << height
		}
		tile := tlog.Tile{H: height, L: 0, N: first >> height, W: int(width)}
		data, err := os.ReadFile(filepath.Join(string(f), bundlePath(tile)))
		if err != nil {
			return nil, err
		}
		for len(data) > 0 {
			n := 2 + int(binary.BigEndian.Uint16(data))
			all = append(all, data[2:n])
			data = data[n:]
		}
	}
	if int64(len(all)) != size {
		return nil, fmt.Errorf("%d entries in the bundles instead of %d", len(all), size)
	}
	return all, nil
}

func open(file string, verifier note.Verifier) (tlog.Tree, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("%s: %w", file, err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("%s: not a checkpoint of %s", file, verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func check(dir, key string) error {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return err
	}
	head, err := open(filepath.Join(dir, "checkpoint"), verifier)
	if err != nil {
		return err
	}
	var proofs Proofs
	if err := json.NewDecoder(os.Stdin).Decode(&proofs); err != nil {
		return err
	}
	if err := checkEntries(folder(dir), head, proofs); err != nil {
		return err
	}
	n, err := checkCheckpoints(folder(dir), head, verifier, proofs)
	if err != nil {
		return err
	}
	fmt.Printf("%d entries, %d checkpoints\n", head.N, n)
	return nil
}

// checkEntries has tlog prove each entry from the tiles and check psishare's proof of it.
func checkEntries(dir folder, head tlog.Tree, proofs Proofs) error {
	entries, err := dir.entries(head.N)
	if err != nil {
		return err
	}
	if len(proofs.Inclusion) != len(entries) {
		return fmt.Errorf("%d inclusion proofs for %d entries", len(proofs.Inclusion), len(entries))
	}
	// The reader checks every tile against the head's root before it hands on a hash.
	reader := tlog.TileHashReader(head, dir)
	for i, entry := range entries {
		index, leaf := int64(i), tlog.RecordHash(entry)
		own, err := tlog.ProveRecord(head.N, index, reader)
		if err != nil {
			return err
		}
		for _, proof := range []tlog.RecordProof{own, proofs.Inclusion[i]} {
			if err := tlog.CheckRecord(proof, head.N, head.Hash, index, leaf); err != nil {
				return fmt.Errorf("entry %d: %w", i, err)
			}
		}
	}
	return nil
}

// checkCheckpoints has tlog prove that the head extends every older checkpoint, and check psishare's proofs.
func checkCheckpoints(dir folder, head tlog.Tree, verifier note.Verifier, proofs Proofs) (int, error) {
	files, err := filepath.Glob(filepath.Join(string(dir), "checkpoints", "*"))
	if err != nil {
		return 0, err
	}
	reader := tlog.TileHashReader(head, dir)
	for _, file := range files {
		tree, err := open(file, verifier)
		if err != nil {
			return 0, err
		}
		if tree.N == 0 || tree.N == head.N {
			// tlog proves nothing about the empty tree, and a tree by itself with no proof.
			continue
		}
		own, err := tlog.ProveTree(head.N, tree.N, reader)
		if err != nil {
			return 0, err
		}
		for _, proof := range []tlog.TreeProof{own, proofs.Consistency[tree.N]} {
			if err := tlog.CheckTree(proof, head.N, head.Hash, tree.N, tree.Hash); err != nil {
				return 0, fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return len(files), nil
}

// hashes are a log's stored hashes, in memory.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, index := range indexes {
		found = append(found, h[index])
	}
	return found, nil
}

func write(dir, sizeText string) error {
	size, err := strconv.ParseInt(sizeText, 10, 64)
	if err != nil {
		return err
	}
	secret, public, err := note.GenerateKey(rand.Reader, "go.example/log")
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return err
	}
	var stored hashes
	var entries [][]byte
	proofs := Proofs{Key: public, Consistency: map[int64][]tlog.Hash{}}
	for index := int64(0); index < size; index++ {
		entry := []byte(fmt.Sprintf("entry %d of a log that Go wrote", index))
		more, err := tlog.StoredHashes(index, entry, stored)
		if err != nil {
			return err
		}
		stored, entries = append(stored, more...), append(entries, entry)
		if err := sign(dir, signer, index+1, stored); err != nil {
			return err
		}
	}
	if err := writeTiles(dir, size, stored, entries); err != nil {
		return err
	}
	for index := int64(0); index < size; index++ {
		record, err := tlog.ProveRecord(size, index, stored)
		if err != nil {
			return err
		}
		proofs.Inclusion = append(proofs.Inclusion, record)
		tree, err := tlog.ProveTree(size, index+1, stored)
		if err != nil {
			return err
		}
		proofs.Consistency[index+1] = tree
	}
	return json.NewEncoder(os.Stdout).Encode(proofs)
}

func sign(dir string, signer note.Signer, size int64, stored hashes) error {
	root, err := tlog.TreeHash(size, stored)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", signer.Name(), size, root)
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return err
	}
	return put(filepath.Join(dir, "checkpoints", strconv.FormatInt(size, 10)), signed)
}

func writeTiles(dir string, size int64, stored hashes, entries [][]byte) error {
	tiles := tlog.NewTiles(height, 0, size)
	sort.Slice(tiles, func(i, j int) bool { return tiles[i].Path() < tiles[j].Path() })
	for _, tile := range tiles {
		data, err := tlog.ReadTileData(tile, stored)
		if err != nil {
			return err
		}
		if err := put(filepath.Join(dir, path(tile)), data); err != nil {
			return err
		}
		if tile.L != 0 {
			continue
		}
		var bundle []byte
		for _, entry := range entries[tile.N<<height : tile.N<<height+int64(tile.W)] {
			bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(entry)))
			bundle = append(bundle, entry...)
		}
		if err := put(filepath.Join(dir, bundlePath(tile)), bundle); err != nil {
			return err
		}
	}
	return nil
}

func put(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}
