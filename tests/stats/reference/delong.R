# DeLong's variance, intervals and paired test by pROC: the reference of tests/test_comparison.py.
#
# Rscript tests/stats/reference/delong.R    (R with pROC: Debian's r-cran-proc; made with R 4.2.2 and pROC 1.18.0)
#
# Writes beside itself delong_cohorts.csv (cohort, label, a, b: the data sets, seeded) and delong_expected.csv (one row a
# cohort). Scores are written with few digits and analysed as written, so that ties are the same ties everywhere.
suppressMessages(library(pROC))
set.seed(20261125)
folder <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)))

cohort <- function(name, m, n, digits, shift, correlation) {
  label <- sample(rep(c(1, 0), c(m, n)))
  common <- rnorm(m + n)
  score <- function() round(plogis(shift * label + correlation * common + sqrt(1 - correlation^2) * rnorm(m + n)), digits)
  data.frame(cohort = name, label = label, a = score(), b = score())
}

sizes <- list(c(2, 3), c(4, 5), c(8, 11), c(39, 56), c(5, 60), c(70, 4), c(100, 100))
designs <- expand.grid(size = seq_along(sizes), digits = c(1, 2, 6), correlation = c(0.3, 0.9))
cohorts <- list()
for (i in seq_len(nrow(designs))) {
  design <- designs[i, ]
  repeat { # a variance of 0 has no test: such data sets are tested by themselves
    drawn <- cohort(sprintf("%02d", i), sizes[[design$size]][1], sizes[[design$size]][2], design$digits, 0.8, design$correlation)
    a <- roc(drawn$label, drawn$a, levels = c(0, 1), direction = "<")
    b <- roc(drawn$label, drawn$b, levels = c(0, 1), direction = "<")
    if (var(a) > 0 && var(b) > 0 && var(a) + var(b) - 2 * cov(a, b) > 1e-12) break
  }
  cohorts[[i]] <- drawn
}
cohorts <- do.call(rbind, cohorts)

expected <- do.call(rbind, lapply(split(cohorts, cohorts$cohort), function(data) {
  a <- roc(data$label, data$a, levels = c(0, 1), direction = "<")
  b <- roc(data$label, data$b, levels = c(0, 1), direction = "<")
  test <- roc.test(a, b, method = "delong", paired = TRUE)
  plain <- ci.auc(a, method = "delong")
  area <- as.numeric(auc(a))
  logit <- plogis(qlogis(area) + c(-1, 1) * qnorm(0.975) * sqrt(var(a)) / (area * (1 - area)))
  data.frame(
    cohort = data$cohort[1], auc_a = area, auc_b = as.numeric(auc(b)), var_a = var(a), var_b = var(b), cov = cov(a, b),
    plain_low = plain[1], plain_high = plain[3], logit_low = logit[1], logit_high = logit[2],
    z = unname(test$statistic), p = test$p.value, difference_low = test$conf.int[1], difference_high = test$conf.int[2]
  )
}))
write.csv(cohorts, file.path(folder, "delong_cohorts.csv"), row.names = FALSE, quote = FALSE)
write.csv(format(expected, digits = 17), file.path(folder, "delong_expected.csv"), row.names = FALSE, quote = FALSE)
