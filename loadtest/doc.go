// Package loadtest runs load tests: it sends what a scenario says, watches the engine meanwhile, and gives back what
// happened. The folders below do the parts: scenario reads, attack sends, measure counts, report writes, ui shows.
//
// Its own tests measure weir: benchmarks start the programs that `make build` made and compare them, in one run, with the
// bare TensorFlow session. RESULTS.md has the figures with their commands.
package loadtest
