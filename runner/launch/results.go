package launch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"github.com/ibuild/ibuild/runner/bootstrap/results"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// ResultsFact is the name of the job's fact (an annotation) that says where results are: REGISTRY/REPO:TAG-PREFIX.
const ResultsFact = "results"

// parallelHosts is how many hosts' results are fetched at a time.
const parallelHosts = 4

// HostResult is one host of a job, and what is known of its results.
type HostResult struct {
	Slice, Index int           // as in gke.Host
	Digest       digest.Digest // that the host has reported; empty takes what the tag stands for
}

// Fetched is what came of one host.
type Fetched struct {
	HostResult
	Folder  string          // where they are
	Summary results.Summary // without a digest, when the host has left nothing
}

// NoResultsError says that no host of a job has left results.
type NoResultsError struct{ At string }

// Error says where they would be.
func (e *NoResultsError) Error() string {
	return fmt.Sprintf("there are no results at %s", e.At)
}

// Hint says what may be the reason.
func (e *NoResultsError) Hint() string {
	return "a job has results when its program leaves files in $" + contract.OutputVariable + " and has ended; ibuild jobs status NAME says whether it has"
}

// FetchResults brings the results of a job's hosts from the registry: those of a single host into the folder itself,
// those of several into host-0, host-1, … below it, and of several slices into slice-0-host-0, … Each host's files are
// moved to their names when all of them are there. A host without results is none of an error, unless it is all of
// them. Of the hosts that failed, the others' results are there. to.MaxBytes is for each host.
//
// Errors: *NoResultsError, and those of [results.Fetch], joined.
func FetchResults(ctx context.Context, client *registry.Client, at string, hosts []HostResult, to results.Target) ([]Fetched, error) {
	out := make([]Fetched, len(hosts))
	failed := make([]error, len(hosts))
	var group errgroup.Group
	group.SetLimit(parallelHosts)
	for i, host := range hosts {
		out[i] = Fetched{HostResult: host, Folder: filepath.Join(to.Folder, hostFolder(hosts, host))}
		group.Go(func() error {
			mine := to
			mine.Folder = out[i].Folder
			var err error
			out[i].Summary, err = results.Fetch(ctx, client, contract.Tag(at, host.Slice, host.Index), host.Digest, mine)
			if errors.Is(err, registry.ErrNotFound) && host.Digest == "" {
				out[i].Summary, err = results.Summary{}, nil // it has left nothing
			}
			failed[i] = err
			return nil // the others go on
		})
	}
	if err := errors.Join(group.Wait(), errors.Join(failed...)); err != nil {
		return out, err
	}
	for _, f := range out {
		if f.Summary.Digest != "" {
			return out, nil
		}
	}
	return nil, &NoResultsError{at}
}

// hostFolder is where a host's results are, below the folder of all.
func hostFolder(all []HostResult, host HostResult) string {
	if len(all) == 1 {
		return ""
	}
	for _, other := range all {
		if other.Slice != all[0].Slice {
			return fmt.Sprintf("slice-%d-host-%d", host.Slice, host.Index)
		}
	}
	return fmt.Sprintf("host-%d", host.Index)
}
