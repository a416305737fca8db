package llb

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mask returns a text without the credentials in it, and the same text when there are none.
type Mask func(text []byte) []byte

// minHidden is the length from which on a hidden variable's value is looked for in other texts: "1" would be
// found everywhere.
const minHidden = 6

// Knowing returns a mask that also hides the values of those variables ("NAME=value") which m hides, wherever else
// they are: in an address, say, or the name of a step. Fingerprints are made with salt, which is asked for
// when something is hidden.
func (m Mask) Knowing(variables []string, salt func() Salt) Mask {
	values := m.replacer(envParts(variables), salt)
	return func(text []byte) []byte { return m([]byte(values.Replace(string(text)))) }
}

// replacer puts fingerprints in the places of the values that m hides.
func (m Mask) replacer(list []Part, salt func() Salt) *strings.Replacer {
	var values []string
	seen := map[Part]bool{} // the steps of an image mostly have the same ones
	for _, p := range list {
		if seen[p] {
			continue
		}
		seen[p] = true
		if (p.What == "variable" || p.What == "label") && len(p.Value) >= minHidden && m.hides(p) {
			values = append(values, p.Value)
		}
	}
	// the first one that fits is replaced: the longer of two that begin alike goes first, or its end would stay
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	var pairs []string
	if len(values) > 0 {
		with := salt()
		for _, v := range slices.Compact(values) {
			pairs = append(pairs, v, with.fingerprint(v))
		}
	}
	return strings.NewReplacer(pairs...)
}

func (m Mask) hides(p Part) bool {
	text := []byte(p.Name + "=" + p.Value)
	return !bytes.Equal(m(text), text)
}

// Variables are those of the graph's steps and image configs, and the labels, as "NAME=value".
func (g *Graph) Variables() []string {
	var list []string
	for _, img := range g.Images {
		for _, p := range img.variables() {
			list = append(list, p.Name+"="+p.Value)
		}
	}
	return list
}

func (img GraphImage) variables() []Part {
	list := slices.DeleteFunc(configParts(img.Config), func(p Part) bool { return p.What != "variable" && p.What != "label" })
	for _, v := range img.Vertices {
		list = append(list, envParts(v.Op.GetExec().GetMeta().GetEnv())...)
	}
	return list
}

// hider takes credentials out of the texts of one image: what the mask recognises, and the values of variables
// that it hides wherever else they are.
type hider struct {
	mask   Mask
	salt   Salt
	values *strings.Replacer
}

func newHider(mask Mask, salt Salt, img GraphImage) *hider {
	return &hider{mask: mask, salt: salt, values: mask.replacer(img.variables(), func() Salt { return salt })}
}

func (h *hider) parts(list []Part) []Part {
	for i, p := range list {
		if p.What == "variable" && h.mask.hides(p) {
			list[i].Value = h.salt.fingerprint(p.Value)
			continue
		}
		list[i].Name, list[i].Value = h.text(p.Name), h.text(p.Value)
	}
	return list
}

// text is a name or value as it may be kept.
func (h *hider) text(s string) string {
	plain := h.values.Replace(s)
	if masked := string(h.mask([]byte(plain))); masked != plain {
		plain = masked + " " + h.salt.fingerprint(s)
	}
	if len(plain) > maxOutlineText {
		start := strings.ToValidUTF8(plain[:maxOutlineText], "")
		plain = fmt.Sprintf("%s… (of %d bytes) %s", start, len(s), h.salt.fingerprint(s))
	}
	return plain
}
