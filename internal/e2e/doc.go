// Package e2e holds the tests that treat GCO as its users and its enemies do:
// the real binary, real processes, and kill -9. It has no code of its own
// outside the tests.
package e2e
