package llb

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"sync"
)

// Salt makes the fingerprints of hidden values, so that who reads one cannot find a short value by trying many. It is
// random bytes that are not shown to anybody; fingerprints of different salts cannot be compared. Without one (nil)
// there are no fingerprints: a value is hidden, and whether it changed cannot be told.
type Salt []byte

// hiddenPattern finds what stands for a hidden value.
var hiddenPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\(hidden [0-9a-f]{8}\)`) })

// hidden stands for a value of which no fingerprint can be compared.
const hidden = "(hidden …)"

// fingerprint stands for a value. Eight digits are enough to see a change.
func (s Salt) fingerprint(value string) string {
	if len(s) == 0 {
		return hidden
	}
	return "(hidden " + s.sum("value " + value)[:8] + ")"
}

// id is the same for outlines whose fingerprints can be compared, "" for those without any. It tells nothing of
// the salt.
func (s Salt) id() string {
	if len(s) == 0 {
		return ""
	}
	return s.sum("id")[:16]
}

func (s Salt) sum(text string) string {
	h := hmac.New(sha256.New, s)
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// sameSalt returns two outlines with fingerprints that can be compared: where they were made with other salts, all
// of them say the same.
func sameSalt(a, b *Outline) (*Outline, *Outline) {
	if a.Salt != "" && a.Salt == b.Salt {
		return a, b
	}
	return a.withoutFingerprints(), b.withoutFingerprints()
}

func (o *Outline) withoutFingerprints() *Outline {
	bare := func(s string) string { return hiddenPattern().ReplaceAllLiteralString(s, hidden) }
	parts := func(list []Part) []Part {
		out := make([]Part, len(list))
		for i, p := range list {
			out[i] = Part{What: p.What, Name: bare(p.Name), Value: bare(p.Value)}
		}
		return out
	}
	out := &Outline{Images: make([]OutlineImage, len(o.Images))}
	for i, img := range o.Images {
		img.Config = parts(img.Config)
		steps := make([]OutlineStep, len(img.Steps))
		for j, s := range img.Steps {
			s.Name, s.Parts = bare(s.Name), parts(s.Parts)
			steps[j] = s
		}
		img.Steps = steps
		out.Images[i] = img
	}
	return out
}
