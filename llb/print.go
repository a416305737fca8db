package llb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteJSON writes the graph as indented JSON.
func (g *Graph) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(g)
}

// WriteDOT writes the graph for Graphviz, one cluster per platform.
func (g *Graph) WriteDOT(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString("digraph {\n  rankdir=LR; node [shape=box, fontname=\"monospace\"];\n")
	for i, img := range g.Images {
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%q;\n", i, img.Platform)
		for _, v := range img.Vertices {
			fmt.Fprintf(&b, "    \"%d %s\" [label=%q%s];\n", i, short(string(v.Digest)), v.label(), v.shape())
		}
		for _, v := range img.Vertices {
			for _, in := range v.Op.Inputs {
				fmt.Fprintf(&b, "    \"%d %s\" -> \"%d %s\";\n", i, short(in.Digest), i, short(string(v.Digest)))
			}
		}
		b.WriteString("  }\n")
	}
	b.WriteString("}\n")
	_, err := w.Write(b.Bytes())
	return err
}

func short(d string) string {
	_, hex, _ := strings.Cut(d, ":")
	return hex[:min(12, len(hex))]
}

func (v GraphVertex) label() string {
	if v.Name != "" {
		return v.Name
	}
	switch {
	case v.Op.GetSource() != nil:
		return v.Op.GetSource().Identifier
	case v.Op.GetExec() != nil:
		return strings.Join(v.Op.GetExec().GetMeta().GetArgs(), " ")
	case v.Op.GetFile() != nil:
		return "files"
	case v.Op.GetMerge() != nil:
		return "merge"
	case v.Op.GetDiff() != nil:
		return "diff"
	}
	return "operation"
}

func (v GraphVertex) shape() string {
	if v.Op.GetSource() != nil {
		return ", shape=ellipse"
	}
	return ""
}
