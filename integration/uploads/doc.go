// Package uploads tests the uploads of package registry against a real registry, through connections that are cut. Its
// tests need the build tag integration.
package uploads
