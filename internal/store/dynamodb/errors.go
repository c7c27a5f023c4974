package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/gco-project/gco/internal/store"
)

// wrap says what was being done.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// code is the name that DynamoDB gives an error; empty if it is none of its.
func code(err error) string {
	if failure, ok := errors.AsType[smithy.APIError](err); ok {
		return failure.ErrorCode()
	}
	return ""
}

// The codes of errors by what they mean. "ThrottlingError" is how a reason of a
// cancelled transaction spells it.
var (
	throttles = []string{
		"ProvisionedThroughputExceededException", "ProvisionedThroughputExceeded", "ThrottlingException", "ThrottlingError",
		"RequestLimitExceeded", "LimitExceededException",
	}
	conflicts = []string{"TransactionConflictException", "TransactionConflict", "TransactionInProgressException", "ReplicatedWriteConflictException"}
	refusals  = []string{
		"ValidationException", "ValidationError", "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException",
		"MissingAuthenticationTokenException", "ExpiredTokenException", "ResourceNotFoundException", "IdempotentParameterMismatchException",
		"ItemCollectionSizeLimitExceededException",
	}
)

func isThrottle(code string) bool { return slices.Contains(throttles, code) }
func isConflict(code string) bool { return slices.Contains(conflicts, code) }

// isTransient tells of an error of a read after which another attempt may get
// an answer. Errors without a code came on the way.
func isTransient(err error) bool {
	c := code(err)
	return c == "" || isThrottle(c) || c == "InternalServerError" || c == "ServiceUnavailable"
}

// notWritten marks an error after which nothing was written. Of a read it says
// that another try may succeed.
func notWritten(err error) error {
	switch c := code(err); {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case isThrottle(c):
		return fmt.Errorf("%w: %w", store.ErrThrottled, err)
	case errors.Is(err, store.ErrThrottled), errors.Is(err, store.ErrUnavailable), isDecision(err):
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// afterWrite marks an error of a write that can't be tried again: whoever did
// not get an answer does not know.
func afterWrite(err error) error {
	c := code(err)
	known := errors.Is(err, store.ErrThrottled) || errors.Is(err, store.ErrUnavailable) || isDecision(err)
	if err == nil || known || isThrottle(c) || isConflict(c) || slices.Contains(refusals, c) {
		return notWritten(err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnknown, err)
}

// decisions are the errors by which an operation refuses by itself.
var decisions = []error{
	store.ErrNotFound, store.ErrConflict, store.ErrKeyReused, store.ErrNamespaceFull, store.ErrStaleSession,
	store.ErrOldSequence, store.ErrOtherCluster, store.ErrTooMany, store.ErrUndispatched,
}

func isDecision(err error) bool {
	return slices.ContainsFunc(decisions, func(target error) bool { return errors.Is(err, target) })
}

// refusedItem is what stands where a condition did not hold; known is false
// where the error says something else.
func refusedItem(err error) (found item, known bool) {
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return failed.Item, true
	}
	return nil, false
}
