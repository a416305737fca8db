package main

import "testing"

// TestReviewEpochIsInTheIdentity: SOURCE_DATE_EPOCH becomes the image's time, also where no step has a time.
func TestReviewEpochIsInTheIdentity(t *testing.T) {
	for name, text := range map[string]string{
		"copy": "FROM scratch\nCOPY a.txt /\n", "environment alone": "FROM scratch\nENV A=1\n",
		"command": "FROM HOST/base:1\nRUN make\n", "base alone": "FROM HOST/base:1\n",
	} {
		s := newShelf(t)
		s.push("base:1")
		dir := t.TempDir()
		docker := s.file(dir, "Dockerfile", text)
		s.file(dir, "a.txt", "1")
		seen := map[string]string{}
		for _, epoch := range []string{"", "1", "2"} {
			t.Setenv("SOURCE_DATE_EPOCH", epoch)
			code, out, errs := ibuild(t, "", "llb", "--platform", "linux/amd64", docker)
			if code != 0 {
				t.Fatalf("%s: %d %s", name, code, errs)
			}
			if other, ok := seen[out]; ok {
				t.Errorf("%s: the epochs %q and %q have one graph:\n%s", name, other, epoch, out)
			}
			seen[out] = epoch
		}
	}
}
