package api

// The types of problems that a caller may decide on. A Problem's type is one
// of these; its title and detail are for people.
const (
	// ProblemMalformed: the request is not what HTTP or JSON allow; 400.
	ProblemMalformed = "urn:gco:problem:malformed"
	// ProblemBadCursor: the cursor is not from the same query; 400.
	ProblemBadCursor = "urn:gco:problem:bad-cursor"
	// ProblemUnauthenticated: no token, or none that is valid; 401.
	ProblemUnauthenticated = "urn:gco:problem:unauthenticated"
	// ProblemForbidden: the token may not do this; 403.
	ProblemForbidden = "urn:gco:problem:forbidden"
	// ProblemNotFound: no such thing, or not for this token; 404.
	ProblemNotFound = "urn:gco:problem:not-found"
	// ProblemNoLogs: nothing of the job has run yet; 404.
	ProblemNoLogs = "urn:gco:problem:no-logs"
	// ProblemNotHeld: the region does not hold the attempt any more; 404.
	ProblemNotHeld = "urn:gco:problem:not-held"
	// ProblemMethod: the path exists, with other methods; 405.
	ProblemMethod = "urn:gco:problem:method-not-allowed"
	// ProblemKeyReused: the idempotency key belongs to another body; 409.
	ProblemKeyReused = "urn:gco:problem:key-reused"
	// ProblemNotPossible: not in the state that the job is in; 409.
	ProblemNotPossible = "urn:gco:problem:not-possible"
	// ProblemConflict: changed by someone else, or the name is taken; 409.
	ProblemConflict = "urn:gco:problem:conflict"
	// ProblemStaleSession: fence, and open a new session; 409.
	ProblemStaleSession = "urn:gco:problem:stale-session"
	// ProblemOldSequence: a later Sync of this session was seen; 409.
	ProblemOldSequence = "urn:gco:problem:old-sequence"
	// ProblemOtherCluster: another cluster's live session has the region; 409.
	ProblemOtherCluster = "urn:gco:problem:other-cluster"
	// ProblemGone: it existed and never will again, such as lost logs; 410.
	ProblemGone = "urn:gco:problem:gone"
	// ProblemPreconditionFailed: the ETag in If-Match is not the current one
	// any more; 412.
	ProblemPreconditionFailed = "urn:gco:problem:precondition-failed"
	// ProblemTooLarge: the body is over the route's limit; 413.
	ProblemTooLarge = "urn:gco:problem:too-large"
	// ProblemMediaType: the body's Content-Type is not taken here; 415.
	ProblemMediaType = "urn:gco:problem:unsupported-media-type"
	// ProblemInvalid: see errors, which lists every fault at once; 422.
	ProblemInvalid = "urn:gco:problem:invalid"
	// ProblemPreconditionRequired: the request needs If-Match; 428.
	ProblemPreconditionRequired = "urn:gco:problem:precondition-required"
	// ProblemLimited: over a limit; try again after Retry-After; 429.
	ProblemLimited = "urn:gco:problem:limited"
	// ProblemInternal: a fault of the server; 500.
	ProblemInternal = "urn:gco:problem:internal"
	// ProblemUpstream: a replica did not answer, or broke off; 502.
	ProblemUpstream = "urn:gco:problem:upstream"
	// ProblemUnavailable: the store cannot write now, and has not; 503.
	ProblemUnavailable = "urn:gco:problem:unavailable"
	// ProblemNotReady: no replica of the endpoint takes requests now; 503.
	ProblemNotReady = "urn:gco:problem:not-ready"
	// ProblemUnknown: the write may or may not have happened; 503.
	ProblemUnknown = "urn:gco:problem:outcome-unknown"
	// ProblemRegionSilent: the region did not answer in time; 504.
	ProblemRegionSilent = "urn:gco:problem:region-silent"
)
