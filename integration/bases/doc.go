// Package bases makes base images that stand in for well-known ones where
// Docker Hub and ghcr.io cannot be reached: busybox, debian, python, uv, pixi
// and micromamba, each for amd64 and arm64, from packages of Debian, PyPI and
// crates.io. All contain the real programs but micromamba's: that one is not
// in any of these, and another conda client with its command line stands in.
//
// They are made once per machine and kept as OCI layouts in a cache folder,
// under a digest of all that they are made from. A tag never claims a version
// that the image does not have.
//
// Where a machine trusts certificates of its own beside the public ones, as
// behind a company's proxy, the Debian images trust them too: programs in a
// build reach the network the way the machine does.
package bases
