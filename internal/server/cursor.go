package server

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// A cursor is opaque to callers. Inside it is the base64 of "1", which names
// this format, a mark of what it belongs to, and a position.
func writeCursor(mark, position string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("1." + mark + "." + position))
}

func readCursor(text string) (mark, position string, ok bool) {
	plain, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", "", false
	}
	parts := strings.SplitN(string(plain), ".", 3)
	if len(parts) != 3 || parts[0] != "1" {
		return "", "", false
	}
	return parts[1], parts[2], true
}

// markOf is the same for the pages of one query, and for no other query.
func markOf(query store.ListQuery) string {
	query.Before, query.Limit = "", 0
	text, err := json.Marshal(query)
	if err != nil {
		panic("server: a query that JSON cannot hold: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

func writeListCursor(query store.ListQuery, next job.ID) string {
	return writeCursor(markOf(query), string(next))
}

func readListCursor(query store.ListQuery, text string) (job.ID, error) {
	mark, position, ok := readCursor(text)
	id, err := job.ParseID(position)
	if !ok || err != nil || mark != markOf(query) {
		return "", newProblem(api.ProblemBadCursor, "the cursor is not from a list with these filters; start without one")
	}
	return id, nil
}

// writeEventCursor marks the cursor with the store's incarnation: after a
// restore the same position is another event.
func writeEventCursor(incarnation string, position int64) string {
	return writeCursor(incarnation, strconv.FormatInt(position, 10))
}

func readEventCursor(incarnation, text string) (int64, error) {
	mark, position, ok := readCursor(text)
	at, err := strconv.ParseInt(position, 10, 64)
	if !ok || err != nil || at < 0 {
		return 0, newProblem(api.ProblemBadCursor, "%q is no cursor of this stream; start without one", shorten([]byte(text)))
	}
	if mark != incarnation {
		return 0, newProblem(api.ProblemGone, "%s", fmt.Sprintf(
			"the store was restored since this cursor was given (then %s, now %s); start without one and read the lists anew",
			shorten([]byte(mark)), incarnation))
	}
	return at, nil
}
