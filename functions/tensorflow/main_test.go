package tensorflow

import (
	"fmt"
	"os"
	"testing"
)

// TestMain lets the exported models run on any processor.
func TestMain(m *testing.M) {
	if err := WithOneDNN(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	m.Run()
}
