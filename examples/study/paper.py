"""The study in Python: table, figures, best configurations and report."""

from ztxexp import ResultAnalyzer

results = ResultAnalyzer("results")
results.table(percent=True, test="paired-t", highlight="column").to_latex("models.tex")
results.curves("loss", by=["model", "dataset"], where="lr == 0.1").save("curves.pdf")
results.effects("accuracy").save("effects.pdf")
print(results.best("accuracy", top=3, over="seed")[["model", "lr", "dataset", "accuracy_mean"]])
results.report("report.html")
