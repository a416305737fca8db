// Package authority issues the certificates of the tests' environments: of
// servers on loopback and of their clients. They are good for a week, and an
// authority is nobody's but that environment's.
package authority
