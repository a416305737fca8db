package condachannel

import (
	"crypto/md5" // the index has both digests
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path"

	"github.com/klauspost/compress/zstd"
)

// Channel is a whole channel: files by their path below the channel's URL.
type Channel struct {
	Files map[string][]byte
}

// Subdirs are the platforms that the channel has packages for, in conda's words.
func Subdirs() []string { return []string{"linux-64", "linux-aarch64", "noarch"} }

// New makes the channel.
func New() (Channel, error) {
	c := Channel{Files: map[string][]byte{}}
	for _, subdir := range Subdirs() {
		if err := c.addSubdir(subdir); err != nil {
			return Channel{}, err
		}
	}
	return c, nil
}

// addSubdir makes the packages of a subdir and their index, plain and
// compressed: micromamba and pixi ask for the compressed one first.
func (c Channel) addSubdir(subdir string) error {
	records := map[string]any{}
	for _, p := range packages() {
		if !p.in(subdir) {
			continue
		}
		data, err := p.archive(subdir)
		if err != nil {
			return err
		}
		c.Files[path.Join(subdir, p.file(subdir))] = data
		records[p.file(subdir)] = p.record(subdir, data)
	}
	index, err := json.Marshal(map[string]any{
		"info": map[string]any{"subdir": subdir}, "packages": map[string]any{}, "packages.conda": records,
		"removed": []string{}, "repodata_version": 1,
	})
	if err != nil {
		return err
	}
	compressed, err := compress(index)
	if err != nil {
		return err
	}
	c.Files[path.Join(subdir, "repodata.json")] = index
	c.Files[path.Join(subdir, "repodata.json.zst")] = compressed
	return nil
}

// record is what the index says of a package: its own index.json, and what can
// only be known of the finished file.
func (p pkg) record(subdir string, data []byte) map[string]any {
	record := p.indexJSON(subdir)
	sha, sum := sha256.Sum256(data), md5.Sum(data)
	record["sha256"], record["md5"] = hex.EncodeToString(sha[:]), hex.EncodeToString(sum[:])
	record["size"] = len(data)
	return record
}

// compress makes one zstd frame; the same bytes wherever it runs.
func compress(data []byte) ([]byte, error) {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return w.EncodeAll(data, nil), w.Close()
}
