//go:build integration

package e2e

import (
	"bufio"
	"path/filepath"
	"strings"
	"testing"
)

// TestFileAppears adds a file while a builder is at work: the image is pushed, a warning names the file, and the next
// build does not take the image for its own.
func TestFileAppears(t *testing.T) {
	e := engineNamed(t, "root").fresh(t)
	dir := files(t, "Dockerfile", "FROM busybox\nRUN echo begin; sleep 3\nCOPY . /code\n", "one.txt", "1")
	args := []string{"build", "--progress", "plain", "--push", "-t", shared.env.Registry.Ref("appears/image"), dir}
	cmd := e.command(t, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if strings.HasSuffix(lines.Text(), " begin") && !strings.Contains(lines.Text(), "RUN") {
			write(t, filepath.Join(dir, "two.txt"), "2")
		}
	}
	err = cmd.Wait()
	if err != nil || !strings.Contains(said.String(), `warning: files changed while they were built ("two.txt")`) || !strings.Contains(said.String(), "pushed ") {
		t.Errorf("%v\n%s", err, said.String())
	}
	e.watch(t, false, args...).withBuilder(t, "the build after a file appeared")
}
