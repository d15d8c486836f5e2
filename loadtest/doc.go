// Package loadtest measures weir: its benchmarks start the programs that `make build` made and compare them, in one run,
// with the bare TensorFlow session. RESULTS.md has the figures with their commands.
package loadtest
