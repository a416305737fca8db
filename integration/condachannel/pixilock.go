package condachannel

import (
	"crypto/md5" // pixi writes both digests
	"crypto/sha256"
	"fmt"
	"path"
	"strings"
)

// PixiLock is the pixi.lock of a workspace that depends on ibuild-hello on
// both platforms, with the channel served at url. It has version 4, the newest
// that the pixi of package bases knows; later ones read it, too.
func (c Channel) PixiLock(url string) string {
	url = strings.TrimSuffix(url, "/") + "/"
	hello, greeting := packages()[0], packages()[1]
	var environment strings.Builder
	list := c.locked(url, "noarch", greeting)
	for _, subdir := range []string{"linux-64", "linux-aarch64"} {
		fmt.Fprintf(&environment, "      %s:\n      - conda: %s%s/%s\n      - conda: %snoarch/%s\n",
			subdir, url, subdir, hello.file(subdir), url, greeting.file("noarch"))
		list += c.locked(url, subdir, hello)
	}
	return fmt.Sprintf("version: 4\nenvironments:\n  default:\n    channels:\n    - url: %s\n    packages:\n%spackages:\n%s",
		url, environment.String(), list)
}

// locked is the entry of one package in the lock's list.
func (c Channel) locked(url, subdir string, p pkg) string {
	file := path.Join(subdir, p.file(subdir))
	data := c.Files[file]
	text := fmt.Sprintf("- kind: conda\n  name: %s\n  version: '%s'\n  build: '%s'\n  subdir: %s\n", p.name, p.version, p.build(subdir), subdir)
	if p.noarch {
		text += "  noarch: generic\n"
	}
	text += fmt.Sprintf("  url: %s%s\n  sha256: %x\n  md5: %x\n", url, file, sha256.Sum256(data), md5.Sum(data))
	if len(p.depends) > 0 {
		text += "  depends:\n  - " + strings.Join(p.depends, "\n  - ") + "\n"
	}
	if !p.noarch {
		text += fmt.Sprintf("  arch: %s\n  platform: linux\n", arch(subdir))
	}
	return text + fmt.Sprintf("  license: %s\n  size: %d\n  timestamp: %d\n", license, len(data), epoch().UnixMilli())
}
