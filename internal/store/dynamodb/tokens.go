package dynamodb

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/store"
)

// A token stands in three places: under its hash, for whoever presents it;
// under its name, for the list; and under its ID, which leads to the others.
const (
	skToken   = "token"
	byName    = "name"
	byID      = "id"
	attrNamed = "named"
)

func tokenByHash(hash string) item { return at(key(kindTokenHash, hash), skToken) }
func tokenByName(name string) item { return at(pkTokens, key(byName, name)) }
func tokenByID(id string) item     { return at(pkTokens, key(byID, id)) }

// CreateToken keeps a new token; its name, ID and hash must be new.
func (s *Store) CreateToken(ctx context.Context, token store.Token) error {
	body, err := packJSON(token)
	if err != nil {
		return wrap(err, "encoding token %s", token.Name)
	}
	own := s.stamps.next("")
	u := unit{refused: func(_ int, found item) error {
		if textOf(found, attrStamp) == string(own) {
			return nil
		}
		return store.ErrConflict
	}}
	for _, i := range []item{
		with(tokenByHash(token.Hash), item{attrBody: body}),
		with(tokenByName(token.Name), item{attrBody: body}),
		with(tokenByID(token.ID), item{attrNamed: text(token.Name), attrHash: text(token.Hash)}),
	} {
		i[attrStamp] = text(string(own))
		u.actions = append(u.actions, s.putAction(TableState, i, "attribute_not_exists(pk)", nil))
	}
	return wrap(s.transactOne(ctx, u), "creating token %s", token.Name)
}

// TokenByHash finds a token by the hash of its secret.
func (s *Store) TokenByHash(ctx context.Context, hash string) (token store.Token, err error) {
	found, err := s.get(ctx, TableState, tokenByHash(hash))
	if err == nil {
		err = unpackJSON(found, attrBody, &token)
	}
	return token, wrap(err, "reading a token")
}

// Tokens lists all, by name.
func (s *Store) Tokens(ctx context.Context) ([]store.Token, error) {
	items, err := s.all(ctx, query{table: TableState, pk: pkTokens, from: key(byName, ""), to: key(byName, afterAll)})
	if err != nil {
		return nil, wrap(err, "reading tokens")
	}
	all := make([]store.Token, len(items))
	for n, i := range items {
		if err := unpackJSON(i, attrBody, &all[n]); err != nil {
			return nil, wrap(err, "reading tokens")
		}
	}
	return all, nil
}

// DeleteToken removes a token.
func (s *Store) DeleteToken(ctx context.Context, id string) error {
	found, err := s.get(ctx, TableState, tokenByID(id))
	if err != nil {
		return wrap(err, "deleting token %s", id)
	}
	u := unit{
		actions: []types.TransactWriteItem{
			s.deleteAction(TableState, tokenByID(id), "attribute_exists(pk)", nil),
			s.deleteAction(TableState, tokenByName(textOf(found, attrNamed)), "", nil),
			s.deleteAction(TableState, tokenByHash(textOf(found, attrHash)), "", nil),
		},
		refused: func(int, item) error { return store.ErrNotFound },
	}
	return wrap(s.transactOne(ctx, u), "deleting token %s", id)
}
