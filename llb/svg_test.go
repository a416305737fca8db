package llb

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func picture(t *testing.T, g *Graph) string {
	t.Helper()
	var b bytes.Buffer
	if err := g.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	dec := xml.NewDecoder(bytes.NewReader(b.Bytes()))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			return b.String()
		} else if err != nil {
			t.Fatalf("not XML: %v\n%s", err, b.String())
		}
	}
}

func TestSVGGolden(t *testing.T) {
	g := graph(t, record(t, sample(folder(t)), Options{Platforms: []ocispecs.Platform{amd64, arm64}}))
	svg := picture(t, g)
	golden(t, "sample.svg", []byte(svg))
	if again := picture(t, g); again != svg {
		t.Error("the same graph gave two pictures")
	}
	if boxes := strings.Count(svg, "<title>"); boxes != len(g.Images[0].Vertices)+len(g.Images[1].Vertices) {
		t.Errorf("%d boxes", boxes)
	}
}

// graphOf makes a graph out of lists of inputs, by number.
func graphOf(name func(int) string, inputs ...[]int) *Graph {
	id := func(i int) digest.Digest { return digest.FromString(fmt.Sprint(i)) }
	img := GraphImage{Platform: "linux/amd64", Root: id(len(inputs) - 1)}
	for i, list := range inputs {
		op := &pb.Op{Op: &pb.Op_File{}}
		for _, in := range list {
			op.Inputs = append(op.Inputs, &pb.Input{Digest: string(id(in))})
		}
		if len(list) == 0 {
			op.Op = &pb.Op_Source{Source: &pb.SourceOp{Identifier: "docker-image://x"}}
		}
		img.Vertices = append(img.Vertices, GraphVertex{Digest: id(i), Name: name(i), Op: op})
	}
	return &Graph{Images: []GraphImage{img}}
}

func number(i int) string { return fmt.Sprint("step ", i) }

func TestLayOut(t *testing.T) {
	// 0 and 4 are sources, 4 is used late; 1 is used by 2 and, three rows further, by 6; 2 twice by 3
	g := graphOf(number, nil, []int{0}, []int{1}, []int{2, 2}, nil, []int{3, 4}, []int{5, 1})
	rows := layOut(&g.Images[0])
	spread(rows, 0)
	want := map[string]int{"step 0": 0, "step 1": 1, "step 2": 2, "step 3": 3, "step 4": 3, "step 5": 4, "step 6": 5}
	passes := 0
	for i, row := range rows {
		for j, p := range row {
			if p.vertex == nil {
				passes++
			} else if want[p.vertex.Name] != i {
				t.Errorf("%s is in row %d", p.vertex.Name, i)
			}
			for _, q := range p.from {
				if q.row != i-1 {
					t.Errorf("an edge leads from row %d to row %d", q.row, i)
				}
			}
			if j > 0 && p.x < row[j-1].x+row[j-1].width() {
				t.Errorf("row %d: places %d and %d overlap", i, j-1, j)
			}
			if p.x < margin {
				t.Errorf("row %d begins at %d", i, p.x)
			}
		}
	}
	if passes != 3 {
		t.Errorf("%d passes, want one in each of the three rows between step 1 and step 6", passes)
	}
	if n := len(rows[3][slices.IndexFunc(rows[3], func(p *place) bool { return p.vertex != nil && p.vertex.Name == "step 3" })].from); n != 1 {
		t.Errorf("an input that is used twice has %d edges", n)
	}
}

func TestSVGOfNothing(t *testing.T) {
	if svg := picture(t, &Graph{Images: []GraphImage{{Platform: "linux/amd64"}}}); !strings.Contains(svg, "the empty image") {
		t.Errorf("got %s", svg)
	}
	picture(t, &Graph{})
}

// Titles come from files that others wrote.
func TestSVGEscapes(t *testing.T) {
	for _, name := range []string{`</text><script>alert(1)</script>`, `"&'`, "\x00\x1b[2J", "\xff\xfe", strings.Repeat("long", 100), "a\nb", " ", "日本語"} {
		svg := picture(t, graphOf(func(int) string { return name }, nil, []int{0}))
		if strings.Contains(svg, "<script>") || strings.ContainsAny(svg, "\x00\x1b") {
			t.Errorf("%q: %s", name, svg)
		}
	}
}

func TestWrap(t *testing.T) {
	for in, want := range map[string][]string{
		"short":                     {"short"},
		"apt: git curl":             {"apt: git curl"},
		strings.Repeat("x", 32):     {strings.Repeat("x", 32)},
		strings.Repeat("x", 40):     {strings.Repeat("x", 32), strings.Repeat("x", 8)},
		strings.Repeat("word ", 10): {"word word word word word word", "word word word word"},
		strings.Repeat("x", 99):     {strings.Repeat("x", 32), strings.Repeat("x", 31) + "…"},
	} {
		if got := wrap(in); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzSVG(f *testing.F) {
	f.Add("a title", uint16(3))
	f.Add("<&\x00\xff", uint16(40))
	f.Fuzz(func(t *testing.T, name string, n uint16) {
		var inputs [][]int
		for i := range int(n % 50) {
			var list []int
			for j := 0; j < i; j += 1 + int(n)%7 {
				list = append(list, j)
			}
			inputs = append(inputs, list)
		}
		if len(inputs) > 0 {
			picture(t, graphOf(func(int) string { return name }, inputs...))
		}
	})
}
