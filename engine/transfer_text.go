package engine

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/registry"
)

// Summary says in one line what a transfer did that took so long; "" when there was nothing to do.
func Summary(t registry.Transferred, took time.Duration) string {
	spared := spared(t)
	if t.Sent == 0 && t.Fetched == 0 {
		if spared == "" {
			return ""
		}
		return "nothing to send: " + spared
	}
	var moved []string
	if t.Fetched > 0 {
		moved = append(moved, "fetched "+cache.FormatSize(t.Fetched))
	}
	if t.Sent > 0 {
		moved = append(moved, "pushed "+cache.FormatSize(t.Sent))
	}
	text := strings.Join(moved, ", ") + " in " + spell(took)
	if took >= readable {
		text += " (" + rateText(perSecond(max(t.Sent, t.Fetched), took)) + ")"
	}
	if spared != "" {
		text += "; " + spared
	}
	return text
}

// readable is how long a transfer has to take for its rate to say something of the line: the shorter ones are waiting
// for answers.
const readable = 200 * time.Millisecond

// Network says in one line what all transfers of a command did, and what the network was spared; "" for nothing.
func Network(t registry.Transferred) string {
	var parts []string
	if t.Fetched > 0 {
		parts = append(parts, cache.FormatSize(t.Fetched)+" fetched")
	}
	if t.Sent > 0 {
		parts = append(parts, cache.FormatSize(t.Sent)+" sent")
	}
	if t.There.Blobs+t.Mounted.Blobs > 0 {
		parts = append(parts, cache.FormatSize(t.There.Bytes+t.Mounted.Bytes)+" spared: "+spared(t))
	}
	return strings.Join(parts, ", ")
}

// spared is what did not have to move; "" for nothing.
func spared(t registry.Transferred) string {
	var parts []string
	if n := t.There; n.Blobs > 0 {
		parts = append(parts, blobs(n)+were(n)+"there")
	}
	if n := t.Mounted; n.Blobs > 0 && len(parts) > 0 {
		parts = append(parts, fmt.Sprintf("%d (%s) mounted", n.Blobs, cache.FormatSize(n.Bytes)))
	} else if n.Blobs > 0 {
		parts = append(parts, blobs(n)+were(n)+"mounted")
	}
	return strings.Join(parts, ", ")
}

func blobs(n registry.Tally) string {
	if n.Blobs == 1 {
		return fmt.Sprintf("1 blob (%s)", cache.FormatSize(n.Bytes))
	}
	return fmt.Sprintf("%d blobs (%s)", n.Blobs, cache.FormatSize(n.Bytes))
}

func were(n registry.Tally) string {
	if n.Blobs == 1 {
		return " was "
	}
	return " were "
}

// onTheWay says how far a transfer is; the rate is in bytes per second, 0 when it is not known.
func onTheWay(t registry.Transferred, rate int64) string {
	done, all := way(t)
	text := cache.FormatSize(done) + " of " + cache.FormatSize(all)
	if t.Growing {
		text = cache.FormatSize(done) + ", while layers are made"
	}
	if pace := paceText(t, rate); pace != "" {
		text += ", " + pace
	}
	return text
}

// paceText says how fast a transfer is and how long it will take, as far as that is known.
func paceText(t registry.Transferred, rate int64) string {
	if rate == 0 {
		return ""
	}
	text := rateText(rate)
	done, all := way(t)
	if left := all - done; left > 0 && !t.Growing {
		seconds := min(math.Ceil(float64(left)/float64(rate)), 1e6) // tenths would flicker
		text += ", " + spell(time.Duration(seconds)*time.Second) + " left"
	}
	return text
}

// way is how many bytes have moved and how many have to, without the blobs that did not have to.
func way(t registry.Transferred) (done, all int64) {
	spared := t.There.Bytes + t.Mounted.Bytes
	return max(0, t.Settled-spared), max(0, t.Total-spared)
}

func perSecond(bytes int64, took time.Duration) int64 {
	if took <= 0 {
		return 0
	}
	return int64(float64(bytes) / took.Seconds())
}

// rateText writes a number of bytes per second.
func rateText(rate int64) string { return cache.FormatSize(rate) + "/s" }

// spell writes a time for a line of text, with the digits that people read.
func spell(d time.Duration) string {
	switch {
	case d < 100*time.Second && d%time.Second == 0:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 100*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 100*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return "days"
}
