package llb

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Sizes of the picture, in pixels.
const (
	boxWidth, boxHeight = 240, 58
	passWidth           = 16 // of the place where an edge passes a row
	rowGap, columnGap   = 44, 24
	margin, heading     = 24, 40
	lineLength          = 32 // characters of a title that fit into a box
	titleLines          = 2
)

// place is where something is in the picture: the box of a vertex, or the pass of a long edge.
type place struct {
	vertex *GraphVertex // nil for a pass
	from   []*place     // in the row above
	row    int
	x, y   int // of the upper left corner
}

func (p *place) width() int {
	if p.vertex == nil {
		return passWidth
	}
	return boxWidth
}

func (p *place) middle() int { return p.x + p.width()/2 }

// WriteSVG writes the graph as a picture: one part per platform, one box per vertex, inputs above what uses
// them. It is made here, so nothing has to be installed, and it is the same bytes for the same graph.
func (g *Graph) WriteSVG(w io.Writer) error {
	var b strings.Builder
	width, y := 0, 0
	for i := range g.Images {
		rows := layOut(&g.Images[i])
		wide := spread(rows, y+margin+heading)
		g.Images[i].draw(&b, rows, y+margin)
		width = max(width, wide)
		y += margin + heading + len(rows)*(boxHeight+rowGap)
	}
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="#ffffff"/>
%[3]s</svg>
`, width+2*margin, y+margin, b.String())
	return err
}

// layOut gives every vertex a row: below its inputs, and sources just above what uses them first. An edge
// over several rows gets a pass in each row between, so that it goes around boxes and not behind them.
func layOut(img *GraphImage) [][]*place {
	at := map[string]*place{}
	var order []*place
	for i := range img.Vertices {
		v := &img.Vertices[i]
		p := &place{vertex: v}
		for _, in := range v.Op.Inputs {
			if q := at[in.Digest]; q != nil && !slices.Contains(p.from, q) {
				p.from = append(p.from, q)
				p.row = max(p.row, q.row+1)
			}
		}
		at[string(v.Digest)] = p
		order = append(order, p)
	}
	lowerSources(order)
	var rows [][]*place
	for _, p := range order {
		for len(rows) <= p.row {
			rows = append(rows, nil)
		}
		rows[p.row] = append(rows[p.row], p)
	}
	passes := map[*place]*place{} // by what they lead on from: edges out of one box share them
	for _, p := range order {
		for i, q := range p.from {
			for row := q.row + 1; row < p.row; row++ {
				if passes[q] == nil {
					passes[q] = &place{from: []*place{q}, row: row}
					rows[row] = append(rows[row], passes[q])
				}
				q = passes[q]
			}
			p.from[i] = q
		}
	}
	return rows
}

func lowerSources(order []*place) {
	first := map[*place]int{} // row of the first user
	for _, p := range order {
		for _, q := range p.from {
			if row, ok := first[q]; !ok || p.row < row {
				first[q] = p.row
			}
		}
	}
	for _, p := range order {
		if row, ok := first[p]; ok && len(p.from) == 0 {
			p.row = row - 1
		}
	}
}

// spread gives every place its coordinates and returns the width: each row is in the order of the places that
// its edges come from, and in the middle.
func spread(rows [][]*place, top int) (width int) {
	for i, row := range rows {
		if i > 0 {
			slices.SortStableFunc(row, func(a, b *place) int { return cmp.Compare(a.wish(), b.wish()) })
		}
		x := margin
		for _, p := range row {
			p.x, p.y = x, top+i*(boxHeight+rowGap)
			x += p.width() + columnGap
		}
		width = max(width, x-columnGap-margin)
	}
	for _, row := range rows {
		last := row[len(row)-1]
		shift := (width - (last.x + last.width() - margin)) / 2
		for _, p := range row {
			p.x += shift
		}
	}
	return width
}

// wish is where a place would be if it were alone: below its inputs. Sources go to the right end.
func (p *place) wish() int {
	if len(p.from) == 0 {
		return 1 << 30
	}
	sum := 0
	for _, q := range p.from {
		sum += q.middle()
	}
	return sum / len(p.from)
}

func (img *GraphImage) draw(b *strings.Builder, rows [][]*place, top int) {
	fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" font-size=\"16\" font-weight=\"bold\">%s</text>\n", margin, top+16, escape(img.Platform))
	if len(rows) == 0 {
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" fill=\"#666666\">the empty image</text>\n", margin, top+34)
	}
	for _, row := range rows {
		for _, p := range row {
			p.drawEdges(b)
		}
	}
	for _, row := range rows {
		for _, p := range row {
			if p.vertex != nil {
				p.drawBox(b, img.Root == p.vertex.Digest)
			}
		}
	}
}

func (p *place) drawEdges(b *strings.Builder) {
	for _, q := range p.from {
		y1, y2 := q.y+boxHeight, p.y
		half := (y1 + y2) / 2
		if q.vertex == nil { // on through the row that is passed
			fmt.Fprintf(b, "<path d=\"M%[1]d %[2]dV%[3]d\" fill=\"none\" stroke=\"#888888\"/>\n", q.middle(), q.y, y1)
		}
		fmt.Fprintf(b, "<path d=\"M%d %dC%d %d %d %d %d %d\" fill=\"none\" stroke=\"#888888\"/>\n", q.middle(), y1, q.middle(), half, p.middle(), half, p.middle(), y2)
		if p.vertex != nil {
			fmt.Fprintf(b, "<path d=\"M%[1]d %[2]dl-4 -7h8z\" fill=\"#888888\"/>\n", p.middle(), y2)
		}
	}
}

func (p *place) drawBox(b *strings.Builder, root bool) {
	fill, stroke, round := "#eef3fb", "#3b6ea8", 4
	if p.vertex.Op.GetSource() != nil {
		fill, stroke, round = "#f3f0e6", "#94803a", boxHeight/2
	}
	thick := 1
	if root {
		thick = 3
	}
	label := p.vertex.label()
	fmt.Fprintf(b, "<g><title>%s</title>\n", escape(label))
	fmt.Fprintf(b, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"%d\" fill=\"%s\" stroke=\"%s\" stroke-width=\"%d\"/>\n",
		p.x, p.y, boxWidth, boxHeight, round, fill, stroke, thick)
	for i, line := range wrap(label) {
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", p.middle(), p.y+18+15*i, escape(line))
	}
	fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" font-size=\"9\" fill=\"#666666\">%s</text></g>\n",
		p.middle(), p.y+boxHeight-7, escape(short(string(p.vertex.Digest))))
}

// wrap breaks a title into the lines of a box, at blanks where there are any; what is too long ends in an ellipsis.
func wrap(title string) []string {
	rest := []rune(strings.Join(strings.Fields(title), " "))
	var lines []string
	for len(rest) > lineLength && len(lines) < titleLines-1 {
		cut := lineLength
		for i := lineLength; i > lineLength/2; i-- {
			if rest[i] == ' ' {
				cut = i
				break
			}
		}
		lines = append(lines, string(rest[:cut]))
		rest = []rune(strings.TrimPrefix(string(rest[cut:]), " "))
	}
	if len(rest) > lineLength {
		rest = append(rest[:lineLength-1:lineLength-1], '…')
	}
	return append(lines, string(rest))
}

// escape makes any bytes text of an XML document.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(strings.ToValidUTF8(s, string(utf8.RuneError)))) // a Builder does not fail
	return b.String()
}
