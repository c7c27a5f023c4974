package attempt

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// maxEventFile bounds the event log of one attempt, in bytes; what comes later
// is not kept.
const maxEventFile = 1 << 20

// Event is something that happened to an attempt.
type Event struct {
	At      time.Time `json:"at"`
	Warning bool      `json:"warning,omitempty"`
	Reason  string    `json:"reason"`
	Object  string    `json:"object"`
	Message string    `json:"message"`
	// Count is how often it did, up to At; it is not stored.
	Count int `json:"-"`
}

// AppendEvent adds an event to the log of the attempt.
func AppendEvent(dir Dir, event Event) error {
	text, err := json.Marshal(event)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(dir.Events(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("writing an event: %w", err)
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil || size > maxEventFile {
		return err
	}
	if _, err := file.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("writing an event: %w", err)
	}
	return nil
}

// LoadEvents returns the events of an attempt, oldest first. Repetitions of
// one are counted in its last occurrence. A line that was cut off by a crash
// is left out.
func LoadEvents(dir Dir) ([]Event, error) {
	file, err := os.Open(dir.Events())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	defer file.Close()
	var events []Event
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxEventFile)
	for lines.Scan() {
		event := Event{Count: 1}
		if json.Unmarshal(lines.Bytes(), &event) == nil {
			events = addEvent(events, event)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	return events, nil
}

func addEvent(events []Event, event Event) []Event {
	for i, earlier := range events {
		if earlier.Reason == event.Reason && earlier.Object == event.Object && earlier.Message == event.Message {
			event.Count += earlier.Count
			return append(append(events[:i], events[i+1:]...), event)
		}
	}
	return append(events, event)
}
