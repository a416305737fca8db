package main

import (
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/registry/codec"
	"github.com/ibuild/ibuild/settings"
)

// pushProfiles is what the settings say of how hosts take uploads.
func pushProfiles(all map[string]settings.Push) map[string]registry.ProfileChange {
	profiles := map[string]registry.ProfileChange{}
	for host, p := range all {
		change := registry.ProfileChange{Parallel: p.Parallel, Chunk: p.ChunkBytes(), Resume: p.Resume, Mount: p.Mount, Stall: p.StallTime(), Answer: p.AnswerTime()}
		if p.Compression != "" {
			needs := p.Compression
			if needs == codec.Zstd {
				needs = "" // it is what every host gets that needs nothing else
			}
			change.Compression = &needs
		}
		profiles[host] = change
	}
	return profiles
}

// usualCompression is how layers are compressed without a flag. zstd goes without its name: it is for registries and
// archives that can have it.
func usualCompression(b settings.Build) engine.Compression {
	if b.Compression == codec.Zstd {
		return engine.Compression{Level: b.CompressionLevel}
	}
	return engine.Compression{Name: b.Compression, Level: b.CompressionLevel}
}
