# Rscript theophylline_tmb.R LIBRARY DATA REPEATS: -2LL, evaluations, wall and CPU seconds of each fit.
arguments <- commandArgs(trailingOnly = TRUE)
suppressPackageStartupMessages(library(TMB))
dyn.load(arguments[1])
data <- read.csv(arguments[2])
count <- max(data$subject) + 1
start <- list(
  log_theta = log(c(1.5, 0.04, 0.5)), log_sd = 0.5 * log(c(0.4, 0.1, 0.05)), log_sigma = log(0.7),
  eta = matrix(0, count, 3)
)
for (turn in seq_len(as.integer(arguments[3]))) {
  before <- proc.time()
  model <- MakeADFun(as.list(data), start, random = "eta", DLL = "theophylline", silent = TRUE)
  fit <- nlminb(model$par, model$fn, model$gr, control = list(eval.max = 500, iter.max = 500))
  took <- proc.time() - before
  cat(sprintf("%.6f %d %.4f %.4f\n", 2 * fit$objective, fit$evaluations[2], took[3], took[1] + took[2]))
}
