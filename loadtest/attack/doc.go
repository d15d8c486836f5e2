// Package attack sends the requests of one load: open loop, arrivals that do not wait for answers, by vegeta's attack
// library; closed loop, users who do. It measures each request and knows nothing of percentiles, engines or reports.
package attack
