package gke

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// logClient opens logs: they are no objects, which is all that the dynamic client reads.
type logClient struct{ rest rest.Interface }

func (c *Cluster) logClient() (logClient, error) {
	config := dynamic.ConfigFor(c.config)
	config.GroupVersion, config.APIPath = &schema.GroupVersion{Version: "v1"}, "/api"
	config.Timeout = 0 // it would count for whole streams
	config.QPS = -1    // a job of many hosts opens many
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return logClient{}, fmt.Errorf("cluster %s: %w", c.Server, err)
	}
	return logClient{client}, nil
}

// open asks for the log of a pod's program, with the node's times.
func (c logClient) open(ctx context.Context, p *corev1.Pod, parameters map[string]string) (io.ReadCloser, error) {
	request := c.rest.Get().Namespace(p.Namespace).Resource("pods").Name(p.Name).SubResource("log").Param("timestamps", "true")
	request.Param("container", ProgramContainer)
	for name, value := range parameters {
		request.Param(name, value)
	}
	return request.Stream(ctx)
}

// stream reads the output of one pod.
type stream struct {
	logs   *logs
	pod    *corev1.Pod
	at     Place
	follow bool
	o      *observer // nil without follow
	seed   maphash.Seed
	window window
	part   unfinished
	came   bool         // the last connection brought lines
	silent bool         // it was said that the node does not answer
	cutFor atomic.Int64 // time of the line for which a guard has cut a connection last
}

func (l *logs) stream(p *corev1.Pod, o *observer) *stream {
	return &stream{logs: l, pod: p, at: placeOf(p), o: o, follow: o != nil, seed: maphash.MakeSeed(),
		window: window{trimmed: l.options.Tail > 0 || l.options.Since > 0}}
}

// run reads until the program has ended and all that it wrote was handed on. It
// returns only the errors of the context and of write.
func (s *stream) run(ctx context.Context) error {
	pause := pauses()
	var troubled time.Time
	for {
		rest, err := s.read(ctx, s.follow)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if s.came || errors.Is(err, io.EOF) {
			troubled = time.Time{}
		} else if troubled.IsZero() {
			troubled = time.Now()
		}
		how, why := s.after(ctx, err, troubled)
		switch {
		case how == complete:
			return s.finish(ctx, rest)
		case how == stopped:
			return errors.Join(s.last(ctx, rest), s.note(ctx, why))
		case why != "":
			if err := s.note(ctx, why); err != nil {
				return err
			}
		}
		if s.came {
			pause, s.came = pauses(), false
		}
		if !every(ctx, pause.Step()) {
			return context.Cause(ctx)
		}
	}
}

// next says how to go on after a connection has ended.
type next int

const (
	reconnect next = iota
	complete       // the program has ended; read the rest
	stopped        // there is nothing more to be had
)

// readable is how long a log that cannot be read is tried for after the end of
// its job, or by a command that does not follow.
const readable = 20 * time.Second

// after looks at the pod, because the end of a connection does not say why: it
// looks the same whether the program has ended or a proxy was restarted. why is
// for people, where there is something to say.
func (s *stream) after(ctx context.Context, err error, troubled time.Time) (how next, why string) {
	if errors.Is(err, io.EOF) && !s.follow {
		return complete, ""
	}
	u, lookErr := s.logs.run.in(pods).Get(ctx, s.pod.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(lookErr) || lookErr == nil && u.GetUID() != s.pod.UID {
		return stopped, "the pod was deleted; its last lines may be missing"
	}
	if apierrors.IsForbidden(err) {
		return stopped, "its output may not be read: " + oneLine(err.Error())
	}
	if lookErr == nil && errors.Is(err, io.EOF) && s.hasEnded(u) {
		return complete, ""
	}
	if !troubled.IsZero() && time.Since(troubled) > readable {
		if s.giveUp(u, lookErr) {
			return stopped, "the node does not give the output out: " + oneLine(err.Error())
		}
		if !s.silent {
			s.silent = true
			return reconnect, "the node does not give the output out, ibuild goes on trying: " + oneLine(err.Error())
		}
	}
	return reconnect, ""
}

// giveUp says that an output that cannot be read will not come back.
func (s *stream) giveUp(u *unstructured.Unstructured, lookErr error) bool {
	if !s.follow {
		return true
	}
	if lookErr != nil { // the cluster is out of reach, which the observer has a deadline for
		return false
	}
	return s.hasEnded(u) || decide(s.o.snapshot()).Phase.Ended()
}

func (s *stream) hasEnded(u *unstructured.Unstructured) bool {
	p := &corev1.Pod{}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, p) != nil {
		return false
	}
	return terminated(p) != nil || ended(p) == 1
}

// finish reads once more without following: a stream that followed may have been
// cut just before the end. rest is what came last, without a line's end.
func (s *stream) finish(ctx context.Context, rest *piece) error {
	for try := 0; s.follow; try++ {
		var err error
		if rest, err = s.read(ctx, false); errors.Is(err, io.EOF) {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if try == 3 {
			return s.note(ctx, "the end of the output cannot be read: "+oneLine(err.Error()))
		}
		if !every(ctx, time.Second) {
			return context.Cause(ctx)
		}
	}
	if s.window.gap() {
		if err := s.note(ctx, lossText); err != nil {
			return err
		}
	}
	return s.last(ctx, rest)
}

// last hands on what came last without a line's end.
func (s *stream) last(ctx context.Context, rest *piece) error {
	switch {
	case rest == nil && !s.part.open:
		return nil
	case rest == nil:
		return s.logs.emit(ctx, s.line(time.Unix(0, s.part.mark.time), nil))
	case !rest.stamped && rest.first:
		return s.unstamped(ctx, *rest)
	}
	return s.logs.emit(ctx, s.line(time.Unix(0, rest.mark.time), rest.text))
}
