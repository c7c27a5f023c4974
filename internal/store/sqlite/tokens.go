package sqlite

import (
	"context"
	"encoding/json"

	"github.com/gco-project/gco/internal/store"
)

var (
	stInsertToken = statement(`INSERT INTO tokens (id, name, hash, record) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`)
	stTokenByHash = statement(`SELECT record FROM tokens WHERE hash = ?`)
	stTokens      = statement(`SELECT record FROM tokens ORDER BY name`)
	stDropToken   = statement(`DELETE FROM tokens WHERE id = ?`)
)

// CreateToken keeps a new token; its name, ID and hash must be new.
func (s *Store) CreateToken(ctx context.Context, token store.Token) error {
	record, err := json.Marshal(token)
	if err != nil {
		return wrap(err, "encoding token %s", token.Name)
	}
	err = s.writer.do(ctx, func(t *tx) error {
		n, err := t.exec(stInsertToken, token.ID, token.Name, token.Hash, string(record))
		if err == nil && n == 0 {
			err = store.ErrConflict
		}
		return err
	})
	return wrap(err, "creating token %s", token.Name)
}

// TokenByHash finds a token by the hash of its secret.
func (s *Store) TokenByHash(ctx context.Context, hash string) (token store.Token, err error) {
	record, err := s.text(ctx, "a token", stTokenByHash, hash)
	if err != nil {
		return store.Token{}, err
	}
	err = json.Unmarshal([]byte(record), &token)
	return token, wrap(err, "reading a token")
}

// Tokens lists all, by name.
func (s *Store) Tokens(ctx context.Context) ([]store.Token, error) {
	var all []store.Token
	err := s.read(ctx, "tokens", func(r *session) (err error) {
		all, err = records[store.Token](r, stTokens)
		return err
	})
	return all, err
}

// DeleteToken removes a token.
func (s *Store) DeleteToken(ctx context.Context, id string) error {
	err := s.writer.do(ctx, func(t *tx) error {
		n, err := t.exec(stDropToken, id)
		if err == nil && n == 0 {
			err = store.ErrNotFound
		}
		return err
	})
	return wrap(err, "deleting token %s", id)
}
