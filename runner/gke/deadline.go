package gke

import "time"

// Deadlines are how long each way of standing still may last before Run.Watch
// gives the job up. They run from when this watch saw it first, by its own
// clock: the cluster's may differ. Zero takes the default, a negative one means
// never. What cannot heal (see the table) is given up at once, whatever is here.
//
//	standing still because                                  field          default
//	image missing, forbidden, of another architecture;      none           at once
//	  image name or command wrong; a Secret or its key is
//	  missing; admission or PodSecurity refuses the pod;
//	  Kueue's queue can never hold it
//	no pod is made: a ResourceQuota is used up              NoPods         2 min
//	no node fits, and no autoscaler says it makes one       NoNode         5 min
//	an autoscaler makes a node; no machines in the zone     ScaleUp        never
//	an autoscaler cannot make one: quota of the project,    ScaleUpFailed  10 min
//	  addresses, its own errors
//	Kueue, flex-start or a scheduling gate keeps it waiting Queued         never
//	the registry does not answer, or too slowly             PullError      5 min
//	the image is being pulled                               Pulling        1 h
//	a node prepares the container (volumes, network)        Starting       10 min
//	a node does not answer, while its pod ran               NodeLost       6 min
//	the API server does not answer                          Unreachable    15 min
//
// Kubernetes itself takes pods off a node that does not answer after five
// minutes: NodeLost is longer, so that retries get their chance.
type Deadlines struct {
	NoPods, NoNode, ScaleUp, ScaleUpFailed, Queued, PullError, Pulling, Starting, NodeLost, Unreachable time.Duration
}

// cause is why a job does not get on.
type cause int

const (
	noCause       cause = iota // it gets on
	hopeless                   // nobody but the user can heal it
	noPods                     // no pod is made
	noNode                     // no node fits
	scalingUp                  // a node is being made
	scaleUpFailed              // no node can be made
	queued                     // it waits for its turn
	pullError                  // the image cannot be pulled just now
	pullingImage               // the image is being pulled
	starting                   // the container is being prepared
	nodeLost                   // a node does not answer
)

// never is further away than any job lasts.
const never = time.Duration(1<<63 - 1)

// limit is how long a cause may last.
func (d Deadlines) limit(c cause) time.Duration {
	switch c {
	case hopeless:
		return 0
	case noPods:
		return orElse(d.NoPods, 2*time.Minute)
	case noNode:
		return orElse(d.NoNode, 5*time.Minute)
	case scalingUp:
		return orElse(d.ScaleUp, never)
	case scaleUpFailed:
		return orElse(d.ScaleUpFailed, 10*time.Minute)
	case queued:
		return orElse(d.Queued, never)
	case pullError:
		return orElse(d.PullError, 5*time.Minute)
	case pullingImage:
		return orElse(d.Pulling, time.Hour)
	case starting:
		return orElse(d.Starting, 10*time.Minute)
	case nodeLost:
		return orElse(d.NodeLost, 6*time.Minute)
	}
	return never
}

// unreachable is how long the API server may stay silent.
func (d Deadlines) unreachable() time.Duration { return orElse(d.Unreachable, 15*time.Minute) }

func orElse(d, fallback time.Duration) time.Duration {
	switch {
	case d == 0:
		return fallback
	case d < 0:
		return never
	}
	return d
}

// patience remembers since when a job stands still for one cause.
type patience struct {
	cause cause
	since time.Time
}

// judge applies the deadlines: the state of a job that was waited for long
// enough is Failed and Abandoned. It returns how long to wait before judging
// again though nothing changes; 0 is for ever.
func (p *patience) judge(f finding, d Deadlines, now time.Time) (State, time.Duration) {
	if f.cause != p.cause || p.since.IsZero() {
		p.cause, p.since = f.cause, now
	}
	limit := d.limit(f.cause)
	if f.Phase.Ended() || limit == never {
		return f.State, 0
	}
	if left := limit - now.Sub(p.since); left > 0 {
		f.GiveUp = p.since.Add(limit)
		return f.State, left
	}
	s := f.State
	s.Phase, s.Abandoned = Failed, true
	if limit > 0 {
		s.Message += "; it did not change for " + limit.String()
	}
	return s, 0
}
