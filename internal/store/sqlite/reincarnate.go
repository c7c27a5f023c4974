package sqlite

import (
	"context"
	"time"

	"github.com/google/uuid"
)

var stSetIncarnation = statement(`UPDATE meta SET value = ? WHERE name = 'incarnation'`)

// Reincarnate makes restored data a history of their own.
func (s *Store) Reincarnate(ctx context.Context, now time.Time) (incarnation string, err error) {
	incarnation = uuid.NewString()
	err = s.writer.do(ctx, func(t *tx) error {
		if _, err := t.exec(stSetIncarnation, incarnation); err != nil {
			return err
		}
		rows, err := t.regions()
		if err != nil {
			return err
		}
		for _, row := range rows {
			row.Session, row.Sequence, row.Inventoried = "", 0, false
			row.AwaitedSince = now.UTC()
			if err := t.put(row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", wrap(err, "giving the database a new incarnation")
	}
	s.incarnation = incarnation
	return incarnation, nil
}
