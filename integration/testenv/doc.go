// Package testenv starts what ibuild's integration tests run against, on one
// machine and with nothing but loopback addresses:
//
//   - a registry with base images that stand in for those of Docker Hub and
//     ghcr.io, behind a proxy that records every request;
//   - a rootless buildkitd with mutual TLS, run by an ordinary user, behind a
//     proxy that records every connection;
//   - servers of packages that nobody else has, for pip, uv, conda, pixi and
//     apt: one for everybody, one with a password, one with a certificate of a
//     private authority, each of which records every request;
//   - that ordinary user, for tests of ibuild without root.
//
// A test calls Start, asks the Env for addresses and base images, and calls
// Close, after which no process, mount or file of it is left. Processes also
// die with a test process that is killed.
//
// The images that stand in are made by package bases, the programs by package
// gotool; both keep what they made in the user's cache folder, so that only
// the first run on a machine waits for them. OS packages come from
// integration/deps.sh.
package testenv
