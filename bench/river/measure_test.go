package main

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestNumbers(t *testing.T) {
	if got, err := numbers("1,16,"); err != nil || !slices.Equal(got, []int{1, 16}) {
		t.Errorf("numbers are %v, %v", got, err)
	}
	for _, list := range []string{"0", "-1", "x", "1;2"} {
		if got, err := numbers(list); err == nil {
			t.Errorf("%q is read as %v", list, got)
		}
	}
}

func TestMedian(t *testing.T) {
	values := []float64{3, 1, 2}
	next := 0
	got, err := median(len(values), func() (float64, error) {
		next++
		return values[next-1], nil
	})
	if err != nil || got != 2 {
		t.Errorf("the median is %v, %v", got, err)
	}
}

func TestRateReturnsAnError(t *testing.T) {
	wrong := errors.New("wrong")
	if _, err := rate(time.Minute, 2, 1, func() error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("the error is %v", err)
	}
}

func TestClusterRefusesAFolderThatIsNotThere(t *testing.T) {
	if _, err := startPostgres(t.Context(), t.TempDir()+"/gone"); err == nil {
		t.Error("a cluster was made in a folder that does not exist")
	}
}
