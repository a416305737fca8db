package embed

import (
	"github.com/ibuild/ibuild/engine/embed/objectcache"
	"github.com/moby/buildkit/cache/remotecache"
	inlineremotecache "github.com/moby/buildkit/cache/remotecache/inline"
	localremotecache "github.com/moby/buildkit/cache/remotecache/local"
	registryremotecache "github.com/moby/buildkit/cache/remotecache/registry"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/resolver"
)

// addRemoteCaches offers the types of remote caches. BuildKit's own azblob is not among them: see package objectcache for
// what the start of each ibuild would pay.
func addRemoteCaches(opt *control.Opt, s settings, lw *localWorker, sessions *session.Manager) {
	hosts := resolver.NewRegistryConfig(s.registries)
	opt.ResolveCacheExporterFuncs = map[string]remotecache.ResolveCacheExporterFunc{
		"registry": registryremotecache.ResolveCacheExporterFunc(sessions, hosts),
		"local":    localremotecache.ResolveCacheExporterFunc(sessions),
		"inline":   inlineremotecache.ResolveCacheExporterFunc(),
	}
	opt.ResolveCacheImporterFuncs = map[string]remotecache.ResolveCacheImporterFunc{
		"registry": registryremotecache.ResolveCacheImporterFunc(sessions, lw.worker.ContentStore(), hosts),
		"local":    localremotecache.ResolveCacheImporterFunc(sessions),
	}
	for _, kind := range []string{"gha", "s3"} {
		opt.ResolveCacheExporterFuncs[kind] = objectcache.Exporter(kind)
		opt.ResolveCacheImporterFuncs[kind] = objectcache.Importer(kind)
	}
}
