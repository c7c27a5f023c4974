// Package daemon puts processes together: it is the composition root. It
// opens the store, the listener and the runtime, makes the loops by their
// constructors, runs them as one group, and sees to logging, metrics, secrets
// on disk and the real clock. It decides nothing. cli calls it for gco up,
// gco server and gco agent.
//
// A process is a [ControlPlane], a [Region], or one control plane and several
// regions that reach it over HTTP like any others.
package daemon
