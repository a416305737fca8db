package engine

import (
	"errors"
	"testing"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/opencontainers/go-digest"
)

// TestFullStep: what a failed step has printed tells a full disk from other failures.
func TestFullStep(t *testing.T) {
	failed, other := digest.FromString("failed"), digest.FromString("other")
	exit := errdefs.WrapVertex(errors.New(`process "sh" did not complete successfully: exit code: 1`), failed)
	for _, c := range []struct {
		name string
		err  error
		logs []client.VertexLog
		want bool
	}{
		{"C's words", exit, []client.VertexLog{{Vertex: failed, Data: []byte("dd: error writing '/big': No space left on device\n")}}, true},
		{"Go's words", exit, []client.VertexLog{{Vertex: failed, Data: []byte("write /x: no space left on device")}}, true},
		{"a quota", exit, []client.VertexLog{{Vertex: failed, Data: []byte("Disk quota exceeded")}}, true},
		{"in two parts", exit, []client.VertexLog{{Vertex: failed, Data: []byte("No space ")}, {Vertex: failed, Data: []byte("left on device")}}, true},
		{"another step's", exit, []client.VertexLog{{Vertex: other, Data: []byte("No space left on device")}}, false},
		{"something else", exit, []client.VertexLog{{Vertex: failed, Data: []byte("no such file")}}, false},
		{"no step", errors.New("EOF"), []client.VertexLog{{Vertex: failed, Data: []byte("No space left on device")}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps, shown := &stepOutputs{}, make(chan *client.SolveStatus, len(c.logs))
			in := steps.tee(shown)
			for _, l := range c.logs {
				in <- &client.SolveStatus{Logs: []*client.VertexLog{&l}}
			}
			close(in)
			err := steps.fullDisk(c.err)
			var full *FullError
			if errors.As(err, &full) != c.want || !errors.Is(err, c.err) || err.Error() != c.err.Error() {
				t.Errorf("%#v", err)
			}
			if c.want && full.Output != "" {
				t.Errorf("it is no output: %+v", full)
			}
		})
	}
}
