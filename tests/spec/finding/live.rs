//! The live stream, and the series for charts.
