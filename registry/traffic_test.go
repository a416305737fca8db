package registry

import "testing"

func TestTransferredPlus(t *testing.T) {
	a := Transferred{Total: 1, Settled: 2, Sent: 3, Fetched: 4, Moved: Tally{5, 6}, There: Tally{7, 8}, Mounted: Tally{9, 10}}
	want := Transferred{Total: 2, Settled: 4, Sent: 6, Fetched: 8, Moved: Tally{10, 12}, There: Tally{14, 16}, Mounted: Tally{18, 20}}
	if got := a.Plus(a); got != want {
		t.Errorf("%+v", got)
	}
	if got := a.Plus(Transferred{Growing: true}); !got.Growing || got.Sent != 3 {
		t.Errorf("%+v", got)
	}
}

func TestTrafficHas(t *testing.T) {
	var nobody *Traffic
	nobody.Has(5)
	traffic := &Traffic{}
	traffic.Has(5)
	traffic.Has(7)
	if got, want := traffic.Now(), (Transferred{Total: 12, Settled: 12, There: Tally{2, 12}}); got != want {
		t.Errorf("%+v", got)
	}
}
