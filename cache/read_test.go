package cache

import (
	"strings"
	"testing"
)

func TestReadAll(t *testing.T) {
	for text, limit := range map[string]int64{"": 0, "abc": 3, "abcd": 4} {
		if data, err := ReadAll(strings.NewReader(text), limit); err != nil || string(data) != text {
			t.Errorf("%q within %d: %q, %v", text, limit, data, err)
		}
	}
	if data, err := ReadAll(strings.NewReader("abcd"), 3); err == nil {
		t.Errorf("more than the limit: %q", data)
	}
}
