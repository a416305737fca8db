package embed

import (
	"context"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/cmd/buildkitd/config"
	"github.com/moby/buildkit/util/disk"
)

// How long the limit may delay the start and the end of an engine. What is not done then is done next time.
const (
	startCollect = 30 * time.Second
	closeCollect = 10 * time.Second
)

// gcPolicy is buildkitd's default for a disk of this size, with at most maxSize bytes in all; 0 leaves the
// default's limit.
func gcPolicy(dir string, maxSize int64) []client.PruneInfo {
	stat, err := disk.GetDiskStat(dir)
	if err != nil {
		stat = disk.DiskStat{} // the policy has fixed sizes for an unknown disk
	}
	limits := config.DetectDefaultGCCap(stat)
	if maxSize > 0 {
		limits.GCMaxUsedSpace = config.DiskSpace{Bytes: maxSize}
		// What is reserved is kept whatever the limits say.
		limits.GCReservedSpace = config.DiskSpace{Bytes: min(maxSize, limits.GCReservedSpace.AsBytes(stat))}
	}
	var out []client.PruneInfo
	for _, rule := range config.DefaultGCPolicy(limits, stat) {
		out = append(out, client.PruneInfo{
			Filter:        rule.Filters,
			All:           rule.All,
			KeepDuration:  rule.KeepDuration.Duration,
			ReservedSpace: rule.ReservedSpace.AsBytes(stat),
			MaxUsedSpace:  rule.MaxUsedSpace.AsBytes(stat),
			MinFreeSpace:  rule.MinFreeSpace.AsBytes(stat),
		})
	}
	return out
}

// collect removes what is beyond the limits, for the given time at most. BuildKit does so a second after a build,
// when a process that builds one image has ended. Failing to is no reason not to build, or not to end: BuildKit
// itself goes on without, too.
func (p *inProcess) collect(most time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	w := p.worker.worker
	policy := w.GCPolicy()
	last := policy[len(policy)-1] // the rule for all that there is
	if over, err := p.beyond(ctx, last); err != nil || !over {
		return
	}
	removed := make(chan client.UsageInfo)
	go func() {
		for range removed {
		}
	}()
	_ = w.Prune(ctx, removed, policy...)
	close(removed)
}

// beyond says whether a rule's limits are broken. What was measured once is not measured again, so this costs
// little when nothing is new.
func (p *inProcess) beyond(ctx context.Context, rule client.PruneInfo) (bool, error) {
	list, err := p.worker.worker.DiskUsage(ctx, client.DiskUsageInfo{})
	if err != nil {
		return false, err
	}
	var sum int64
	for _, u := range list {
		if !u.Shared {
			sum += u.Size
		}
	}
	stat, err := disk.GetDiskStat(p.settings.dir)
	if err != nil {
		return false, err
	}
	return sum > rule.MaxUsedSpace || stat.Free < rule.MinFreeSpace && sum > rule.ReservedSpace, nil
}
