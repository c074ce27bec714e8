fileinto "Tea";
keep 3;
