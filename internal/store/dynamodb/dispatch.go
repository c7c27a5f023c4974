package dynamodb

import "context"

type hookCache struct{}

func (s *Store) dispatchGate(context.Context) (int64, error) { return 1 << 62, nil }

func (s *Store) passed(context.Context, string, int64) error { return nil }
