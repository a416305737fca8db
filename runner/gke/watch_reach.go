package gke

import (
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// reach remembers whether the API server answers. It may be used from several
// goroutines.
type reach struct {
	mu    sync.Mutex
	since time.Time // of the outage; zero when there is none
	err   error     // the newest
}

// note takes the result of one request, and says whether that changed anything.
func (r *reach) note(err error, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !outage(err) {
		changed := !r.since.IsZero()
		r.since, r.err = time.Time{}, nil
		return changed
	}
	changed := r.since.IsZero()
	if changed {
		r.since = now
	}
	r.err = err
	return changed
}

// lost is since when the API server is out of reach, and why; zero if it is not.
func (r *reach) lost() (time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.since, r.err
}

// outage tells a cluster that is out of reach from one that answers no. A
// server that answers that it is too busy, starting or broken counts as out of
// reach, and credentials that it takes no longer do, too: plug-ins renew them.
func outage(err error) bool {
	if err == nil {
		return false
	}
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return true
	}
	code := answer.Status().Code
	return code >= 500 || code == 429 || code == 401
}

// UnreachableError is returned by Watch and Logs when the API server did not
// answer for too long. The job itself goes on in the cluster.
type UnreachableError struct {
	Job   string
	Since time.Time
	Err   error // what the newest try met
}

// Error says since when.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("the cluster is out of reach since %s: %v", e.Since.Format("15:04:05"), e.Err)
}

// Unwrap returns what the newest try met.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Hint says that the job goes on, and how to come back to it.
func (e *UnreachableError) Hint() string {
	return "the job goes on in the cluster; come back to it with: ibuild jobs logs --follow " + e.Job
}
