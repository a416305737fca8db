package engine

import (
	"context"
	"errors"

	"github.com/moby/buildkit/session/secrets"
	pkgerrors "github.com/pkg/errors"
)

// secretStores asks one store after the other.
type secretStores []secrets.SecretStore

func (s secretStores) GetSecret(ctx context.Context, id string) ([]byte, error) {
	for _, store := range s {
		if store == nil {
			continue
		}
		data, err := store.GetSecret(ctx, id)
		if err == nil || !errors.Is(err, secrets.ErrNotFound) {
			return data, err
		}
	}
	return nil, pkgerrors.WithStack(secrets.ErrNotFound)
}

// machineStore holds the machine's settings; see llb.Machine.
type machineStore map[string][]byte

func (m machineStore) GetSecret(_ context.Context, id string) ([]byte, error) {
	if data, ok := m[id]; ok {
		return data, nil
	}
	return nil, pkgerrors.WithStack(secrets.ErrNotFound)
}
