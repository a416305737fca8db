package main

import (
	"errors"

	"github.com/ibuild/ibuild/runner/gke"
	"github.com/ibuild/ibuild/runner/launch"
)

// explainJob is explain for errors about clusters and jobs; ok says that it is one.
func explainJob(err error) (code int, msg, hint string, ok bool) {
	var (
		failed *gke.FailedError
		asked  *gke.Error
		lost   *gke.UnreachableError
		taken  *gke.TakenError
		none   *launch.NoResultsError
		place  *gke.PlaceError
		many   *gke.CheckError
	)
	switch {
	case errors.As(err, &failed):
		code := failed.State.ExitCode
		switch {
		case failed.State.Phase == gke.Cancelled:
			code = exitCancelled
		case code == 0:
			code = exitBuild
		}
		return code, err.Error(), failed.State.Hint, true
	case errors.As(err, &lost):
		return exitReach, err.Error(), lost.Hint(), true
	case errors.As(err, &taken):
		return exitUsage, err.Error(), taken.Hint(), true
	case errors.As(err, &many):
		code, _, _, _ := explainJob(many.Errs[0])
		return code, err.Error(), many.Hint(), true
	case errors.As(err, &asked):
		code := map[gke.Refusal]int{gke.NoAnswer: exitReach, gke.NoRights: exitAuth, gke.NoAccount: exitAuth, gke.NotThere: exitUsage, gke.Refused: exitBuild}[asked.Refusal]
		return code, err.Error(), asked.Hint, true
	case errors.As(err, &place):
		return exitUsage, err.Error(), place.Hint(), true
	case errors.As(err, &none):
		return exitBuild, err.Error(), none.Hint(), true
	}
	return 0, "", "", false
}
