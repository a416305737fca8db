package moods

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/ibuild/ibuild/registry"
)

// Sizes in bytes above which a registry takes no request.
const (
	largeLimit = 5 << 20 // what is larger can go up in parts
	smallLimit = 64 << 10
)

// All returns every mood.
func All() []Mood {
	return slices.Concat(cuts(), pauses(), statuses(), refusals(), sessions(), tokens(), lies())
}

func cuts() []Mood {
	list := []Mood{
		{Name: "the answer is lost", Way: Pushes | Pulls, of: every, act: func(v *visit) { v.lose(); v.reset() }},
	}
	for _, c := range []struct {
		how string
		cut func(*visit)
	}{{"reset", (*visit).reset}, {"closed", (*visit).shut}} {
		list = append(list,
			Mood{Name: c.how + " in a blob that goes up", Way: Pushes, of: bytesUp, act: func(v *visit) { v.handPart(); c.cut(v) }},
			Mood{Name: c.how + " in an answer", Way: Pulls, of: down, act: func(v *visit) { v.answerPart(); c.cut(v) }},
			Mood{Name: c.how + " at once", Way: Pushes | Pulls, of: every, act: c.cut})
	}
	return list
}

func pauses() []Mood {
	return []Mood{
		{Name: "a blob that goes up stands still", Way: Pushes, Slow: true, of: bytesUp, act: func(v *visit) { v.handPartAndWait(); v.reset() }},
		{Name: "no answer to a blob", Way: Pushes, Slow: true, of: bytesUp, act: func(v *visit) { v.lose(); v.pause(); v.reset() }},
		{Name: "a blob trickles up", Way: Pushes, of: bytesUp, act: (*visit).trickle},
		{Name: "an answer trickles", Way: Pulls, of: down, act: (*visit).trickleDown},
	}
}

func statuses() []Mood {
	var list []Mood
	for _, code := range []int{500, 502, 503, 504} {
		list = append(list,
			Mood{Name: fmt.Sprint(code, " instead of doing it"), Way: Pushes | Pulls, of: every, act: func(v *visit) { v.say(code) }},
			Mood{Name: fmt.Sprint(code, " after it was done"), Way: Pushes, of: every, act: func(v *visit) { v.lose(); v.say(code) }},
			Mood{Name: fmt.Sprint(code, " in the middle of a blob"), Way: Pushes, of: bytesUp, act: func(v *visit) { v.handPart(); v.say(code) }})
	}
	return append(list,
		Mood{Name: "429 with seconds", Way: Pushes | Pulls, of: every, act: func(v *visit) { v.sayLater("1", time.Second) }},
		Mood{Name: "429 with a date", Way: Pushes | Pulls, of: every, act: func(v *visit) {
			at := time.Now().Add(2 * time.Second).UTC().Truncate(time.Second)
			v.sayLater(at.Format(http.TimeFormat), time.Until(at))
		}},
		Mood{Name: "503 to every byte", Way: Pushes, Lasts: true, Slow: true, May: []error{registry.ErrUnreachable}, of: bytesUp, act: func(v *visit) { v.say(503) }},
		Mood{Name: "503 to every manifest", Way: Pushes, Lasts: true, May: []error{registry.ErrUnreachable}, of: manifestsUp, act: func(v *visit) { v.say(503) }},
		Mood{Name: "403 to every manifest", Way: Pushes, Lasts: true, May: []error{registry.ErrDenied}, of: manifestsUp, act: func(v *visit) { v.say(403) }})
}

func refusals() []Mood {
	list := []Mood{
		{Name: "413 above 5 MiB", Way: Pushes, Lasts: true, of: bytesUp, act: func(v *visit) { v.limit(largeLimit) }},
		{Name: "413 above 64 KiB", Way: Pushes, Lasts: true, May: []error{registry.ErrBadAnswer}, of: bytesUp, act: func(v *visit) { v.limit(smallLimit) }},
		{Name: "416 to a later part", Way: Pushes, Parts: true, of: later, act: func(v *visit) { v.say(416) }},
		{Name: "mounts are not done", Way: Pushes, Lasts: true, of: mounts, act: func(v *visit) { v.r.URL.RawQuery = ""; v.hand() }},
		{Name: "ranges are not heeded", Way: Pulls, Lasts: true, of: blobsDown, act: func(v *visit) { v.r.Header.Del("Range"); v.hand() }},
	}
	for _, code := range []int{401, 403, 404, 405} {
		list = append(list, Mood{Name: fmt.Sprint(code, " to every HEAD of a blob"), Way: Pushes, Lasts: true, of: blobHeads, act: func(v *visit) { v.say(code) }})
	}
	for _, code := range []int{400, 401, 403, 404, 405} {
		list = append(list, Mood{Name: fmt.Sprint(code, " to every mount"), Way: Pushes, Lasts: true, of: mounts, act: func(v *visit) { v.say(code) }})
	}
	return list
}

func sessions() []Mood {
	return []Mood{
		{Name: "a session is gone after a cut", Way: Pushes, of: bytesUp, act: func(v *visit) { v.handPart(); v.endSession(); v.reset() }},
		{Name: "a session is gone", Way: Pushes, of: bytesUp, act: func(v *visit) { v.endSession(); v.hand() }},
		{Name: "blobs go up at another host", Way: Pushes, Lasts: true, of: opens, act: (*visit).moveUpload},
		{Name: "blobs come from another host", Way: Pulls, Lasts: true, of: blobsDown, act: (*visit).moveBlob},
	}
}

func tokens() []Mood {
	return []Mood{
		{Name: "tokens expire", Way: Pushes | Pulls, of: registryOnly, act: func(v *visit) { v.proxy.guard.expire(); v.handIfAllowed() }},
		{Name: "tokens expire in the middle of a blob", Way: Pushes, of: bytesUp, act: func(v *visit) {
			if v.proxy.guard.auth != Bearer { // there are none
				v.hand()
				return
			}
			v.handPart()
			v.proxy.guard.expire()
			v.proxy.guard.challenge(v)
		}},
	}
}

func lies() []Mood {
	lie := []error{registry.ErrBadAnswer}
	other := func(v *visit) {
		v.change(func(resp *http.Response) {
			resp.Header.Set("Docker-Content-Digest", "sha256:"+fmt.Sprintf("%064x", 7))
		})
	}
	return []Mood{
		{Name: "another digest for a blob", Way: Pushes, May: lie, of: ends, act: other},
		{Name: "another digest for a manifest", Way: Pushes | Pulls, May: lie, of: isManifest, act: other},
		{Name: "another size for every blob", Way: Pushes, Lasts: true, of: blobHeads, act: func(v *visit) {
			v.w.Header().Set("Content-Length", "1")
			v.w.WriteHeader(http.StatusOK)
		}},
		{Name: "every blob is said to be there", Way: Pushes, Lasts: true, May: []error{registry.ErrBadAnswer, registry.ErrNotFound}, of: blobHeads, act: func(v *visit) { v.w.WriteHeader(http.StatusOK) }},
		{Name: "a manifest is called a page", Way: Pulls, May: lie, of: manifestsDown, act: func(v *visit) {
			v.change(func(resp *http.Response) { resp.Header.Set("Content-Type", "text/html") })
		}},
		{Name: "a manifest ends early", Way: Pulls, May: lie, of: manifestsDown, act: func(v *visit) { v.shorten() }},
		{Name: "a blob ends early", Way: Pulls, May: lie, of: blobsDown, act: func(v *visit) { v.shorten() }},
		{Name: "a blob has a wrong byte", Way: Pulls, May: lie, of: blobsDown, act: (*visit).spoil},
	}
}
