package llb

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// maskTokenVariables hides what a variable called …TOKEN is set to.
func maskTokenVariables(text []byte) []byte {
	return regexp.MustCompile(`(TOKEN\w*=)\S+`).ReplaceAll(text, []byte("${1}xxxxx"))
}

// TestReviewMaskOfValuesThatBeginAlike: of two hidden values the longer one may begin with the other.
func TestReviewMaskOfValuesThatBeginAlike(t *testing.T) {
	for _, order := range [][]string{{"TOKEN1=canary", "TOKEN2=canary-and-more"}, {"TOKEN2=canary-and-more", "TOKEN1=canary"}} {
		mask := Mask(maskTokenVariables).Knowing(append(order, "MODE=visible"), func() Salt { return testSalt })
		got := string(mask([]byte("get https://host/canary-and-more/canary?mode=visible")))
		if strings.Contains(got, "canary") || strings.Contains(got, "and-more") || !strings.Contains(got, "?mode=visible") {
			t.Errorf("%v: %s", order, got)
		}
		if again := mask([]byte(got)); !bytes.Equal(again, []byte(got)) {
			t.Errorf("%s is masked once more: %s", got, again)
		}
	}
}

// TestReviewSaltIsAskedForWhenNeeded: most builds hide nothing, and need no salt.
func TestReviewSaltIsAskedForWhenNeeded(t *testing.T) {
	got := Mask(maskTokenVariables).Knowing([]string{"MODE=visible"}, func() Salt { t.Error("the salt was asked for"); return nil })([]byte("visible"))
	if string(got) != "visible" {
		t.Errorf("%s", got)
	}
}
