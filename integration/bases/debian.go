package bases

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// defaultPath is the PATH of images that do not need another one.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// debian is one image under the names of the full and of the slim one: without
// manual pages, as the slim one, and with the public certificates, which the
// real ones lack, so that programs in it can use the network.
func debian(sources []string, trusted [][]byte) *recipe {
	return &recipe{
		title: "debian",
		names: []string{
			"debian:" + suite, "debian:" + suite + "-slim", "debian:12", "debian:12-slim",
		},
		inputs: []any{suite, sources, trusted, debianFiles(), debianPackages(), debianOptions("", nil)},
		make: func(ctx context.Context, k *kitchen, platform v1.Platform, _ v1.Image) (v1.Image, error) {
			overlay := k.path("debian-files")
			if err := writeTree(overlay, debianTree(trusted)); err != nil {
				return nil, err
			}
			archive, err := bootstrap{
				platform: platform, variant: "minbase", sources: sources,
				include: debianPackages(), options: debianOptions(overlay, trusted),
			}.run(ctx, k)
			if err != nil {
				return nil, err
			}
			layer, err := k.layer(archiveContents(archive))
			if err != nil {
				return nil, err
			}
			return addition{
				platform: platform, layer: layer, createdBy: "mmdebstrap " + suite,
				config: v1.Config{Env: []string{defaultPath}, Cmd: []string{"bash"}},
			}.add(nil)
		},
	}
}

// debianPackages come on top of the essential ones. usr-is-merged says that
// merging /usr, which mmdebstrap's hook has done, needs no script with all of
// Perl any more.
func debianPackages() []string { return []string{"ca-certificates", "usr-is-merged"} }

// debianOptions leave documentation out, as the real slim image does, and put
// the files of overlay in place.
func debianOptions(overlay string, trusted [][]byte) []string {
	options := []string{
		"--hook-directory=/usr/share/mmdebstrap/hooks/merged-usr",
		"--dpkgopt=path-exclude=/usr/share/doc/*",
		"--dpkgopt=path-include=/usr/share/doc/*/copyright",
		"--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/info/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
		"--customize-hook=sync-in " + overlay + " /",
	}
	if len(trusted) > 0 {
		options = append(options, `--customize-hook=chroot "$1" update-ca-certificates`)
	}
	return options
}

// debianFiles are the settings by which the real images differ from an
// installed system.
func debianFiles() []file {
	return []file{
		{Name: "etc/apt/apt.conf.d/docker-clean", Mode: 0o644, Text: `DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
`},
		{Name: "etc/apt/apt.conf.d/docker-gzip-indexes", Mode: 0o644, Text: "Acquire::GzipIndexes \"true\";\n"},
		{Name: "etc/apt/apt.conf.d/docker-no-languages", Mode: 0o644, Text: "Acquire::Languages \"none\";\n"},
		{Name: "etc/dpkg/dpkg.cfg.d/docker-apt-speedup", Mode: 0o644, Text: "force-unsafe-io\n"},
		{Name: "usr/sbin/policy-rc.d", Mode: 0o755, Text: "#!/bin/sh\nexit 101\n"},
	}
}

// debianTree adds the machine's own authorities where update-ca-certificates
// looks for them.
func debianTree(trusted [][]byte) []file {
	files := debianFiles()
	for i, block := range trusted {
		files = append(files, file{
			Name: fmt.Sprintf("usr/local/share/ca-certificates/machine-%d.crt", i), Mode: 0o644, Text: string(block),
		})
	}
	return files
}

// writeTree writes files, whose modes count, under a folder. The folders get
// the modes that they have in Debian.
func writeTree(dir string, files []file) error {
	for _, f := range files {
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(f.Text), os.FileMode(f.Mode)); err != nil {
			return err
		}
	}
	return nil
}
