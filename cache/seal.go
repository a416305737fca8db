package cache

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"
)

// The seal is the checksum of the whole index, written into the lock file after
// each change. bbolt trusts the bytes of its pages: on damaged ones it panics,
// faults, recurses until the stack is full, or loops over four billion pages. So
// it only ever sees a file that has its seal. One that a killed process or a
// crashed machine left without is put aside.

// maxIndex bounds the index, in bytes; it has to be read to check its seal.
const maxIndex = 256 << 20

// sealedFile is a state of the index that is known to have its seal: checking it
// again is not needed until it changes.
type sealedFile struct {
	info os.FileInfo
}

func (f sealedFile) is(info os.FileInfo) bool {
	return f.info != nil && os.SameFile(f.info, info) && f.info.Size() == info.Size() && f.info.ModTime().Equal(info.ModTime())
}

// checkSeal returns errDamaged unless the index has its seal. No index is fine.
// The lock is held.
func (s *Store) checkSeal() error {
	info, err := os.Stat(s.path(indexFile))
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	s.sealedMu.Lock()
	known := s.sealed.is(info)
	s.sealedMu.Unlock()
	if known {
		return nil
	}
	seal, err := s.seal()
	if err != nil {
		return err
	}
	if stored, err := os.ReadFile(s.path(lockFile)); err != nil || !slices.Contains(strings.SplitAfter(string(stored), "\n"), seal) {
		return errDamaged
	}
	s.rememberSealed(info)
	return nil
}

// writeSeal seals the index as it is. The lock is held exclusively.
func (s *Store) writeSeal() error {
	seal, err := s.seal()
	if err != nil {
		return err
	}
	if err := s.replaceSeals(seal); err != nil {
		return err
	}
	if info, err := os.Stat(s.path(indexFile)); err == nil {
		s.rememberSealed(info)
	}
	return nil
}

// replaceSeals makes seals the ones that an index may have: two while one file takes the place of another. They are
// written over the old ones and not after them, so that a full disk has room for them.
func (s *Store) replaceSeals(seals ...string) error {
	if err := s.fault("seal"); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path(lockFile), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	text := strings.Join(seals, "")
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Truncate(int64(len(text)))
	}
	return cmp.Or(err, f.Close())
}

// seal computes the seal of the index.
func (s *Store) seal() (string, error) { return sealOf(s.path(indexFile)) }

func sealOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	n, err := io.Copy(sum, io.LimitReader(f, maxIndex+1))
	if err != nil {
		return "", err
	}
	if n > maxIndex {
		return "", fmt.Errorf("%w: larger than %d bytes", errDamaged, maxIndex)
	}
	return fmt.Sprintf("%d %08x\n", n, sum.Sum32()), nil
}

func (s *Store) rememberSealed(info os.FileInfo) {
	s.sealedMu.Lock()
	defer s.sealedMu.Unlock()
	s.sealed = sealedFile{info}
}

func (s *Store) forgetSeal() { s.rememberSealed(nil) }
