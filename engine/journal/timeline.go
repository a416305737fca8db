package journal

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ibuild/ibuild/llb"
)

// Sizes of the picture, in pixels, and its colours: those of the pictures of graphs (llb/svg.go).
const (
	rowHeight, barHeight = 22, 14
	labelWidth, barsWide = 360, 720
	margin, heading      = 24, 64
	labelLength          = 52 // characters of a name that fit
	ticks                = 6
	maxRows              = 500

	ranFill, ranLine       = "#eef3fb", "#3b6ea8"
	knownFill, knownLine   = "#f3f0e6", "#94803a"
	failedFill, failedLine = "#fbeaea", "#a83b3b"
)

// WriteTimeline writes the steps of a build as a picture: one row per step, in the order of their starts, as long
// as they took. It is the same bytes for the same record.
func (b *Build) WriteTimeline(w io.Writer) error {
	steps := sorted(b.Steps)
	left := len(steps) - min(len(steps), maxRows)
	steps = steps[:len(steps)-left]
	end := b.Took
	for _, s := range steps {
		end = max(end, s.Start+s.Took)
	}
	var p strings.Builder
	width, height := 2*margin+labelWidth+barsWide, heading+len(steps)*rowHeight+2*margin
	fmt.Fprintf(&p, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%[1]d\" height=\"%[2]d\" viewBox=\"0 0 %[1]d %[2]d\" font-family=\"sans-serif\" font-size=\"12\">\n", width, height)
	fmt.Fprintln(&p, `<rect width="100%" height="100%" fill="#ffffff"/>`)
	title := fmt.Sprintf("build %d of %s, %s", b.ID, b.Name, Duration(b.Took))
	fmt.Fprintf(&p, "<text x=\"%d\" y=\"%d\" font-size=\"16\" font-weight=\"bold\">%s</text>\n", margin, margin+16, escape(title))
	scale := newScale(end)
	scale.draw(&p, len(steps))
	for i, s := range steps {
		scale.bar(&p, s, heading+i*rowHeight, b.Took)
	}
	if left > 0 {
		fmt.Fprintf(&p, "<text x=\"%d\" y=\"%d\" fill=\"#666666\">and %d more steps</text>\n", margin, height-margin/2, left)
	}
	fmt.Fprintln(&p, "</svg>")
	_, err := io.WriteString(w, p.String())
	return err
}

// scale leads from milliseconds to places.
type scale struct{ end int64 }

func newScale(end int64) scale { return scale{max(end, 1)} }

func (s scale) x(ms int64) int { return margin + labelWidth + int(ms*barsWide/s.end) }

// draw draws the lines of the time axis.
func (s scale) draw(p *strings.Builder, rows int) {
	for i := range ticks + 1 {
		ms := s.end * int64(i) / ticks
		x := s.x(ms)
		fmt.Fprintf(p, "<path d=\"M%d %dV%d\" stroke=\"#dddddd\"/>\n", x, heading-6, heading+rows*rowHeight)
		fmt.Fprintf(p, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" font-size=\"10\" fill=\"#666666\">%s</text>\n", x, heading-10, Duration(ms))
	}
}

// bar draws one step. One that had not ended lasts until the end of the build.
func (s scale) bar(p *strings.Builder, step Step, y int, end int64) {
	fill, line, note := ranFill, ranLine, Duration(step.Took)
	took := step.Took
	switch {
	case step.Error != "":
		fill, line, note = failedFill, failedLine, note+", failed"
	case step.Cached:
		fill, line, note = knownFill, knownLine, "known"
	}
	if took < 0 {
		took, note = max(0, end-step.Start), "not ended"
	}
	from, to := s.x(step.Start), s.x(step.Start+took)
	fmt.Fprintf(p, "<g><title>%s (%s)</title>\n", escape(step.Name), note)
	fmt.Fprintf(p, "<text x=\"%d\" y=\"%d\">%s</text>\n", margin, y+12, escape(llb.Short(step.Name, labelLength)))
	fmt.Fprintf(p, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"3\" fill=\"%s\" stroke=\"%s\"/></g>\n", from, y+1, max(to-from, 2), barHeight, fill, line)
}

// Duration is a time in milliseconds for people.
func Duration(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", ms)
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// escape makes any bytes text of an XML document.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(strings.ToValidUTF8(s, string(utf8.RuneError)))) // a Builder does not fail
	return b.String()
}
