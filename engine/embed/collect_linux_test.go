package embed

import "testing"

func TestGCPolicyHasTheLimit(t *testing.T) {
	const limit = 3e9
	for i, rule := range gcPolicy(t.TempDir(), limit) {
		if i > 0 && (rule.MaxUsedSpace != limit || rule.ReservedSpace > limit || rule.MinFreeSpace == 0) {
			t.Errorf("rule %d: %+v", i, rule)
		}
	}
	plain := gcPolicy(t.TempDir(), 0)
	if last := plain[len(plain)-1]; !last.All || last.MaxUsedSpace < 1e9 || last.MaxUsedSpace > 100e9 {
		t.Errorf("without a limit: %+v", last)
	}
}
